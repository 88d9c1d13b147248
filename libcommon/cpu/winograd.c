/*
 * winograd.c - 3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3), with a quarter of the multiplications.
 *
 * The picture is cut into tiles of 4x4 outputs.  Each reads 6x6 inputs, which a transform turns into 36 numbers a
 * channel; filters turn into 36 numbers as well, and number e of the outputs is a matrix product over channels.
 * Filters are transformed again in every call, for some channels at a time while those are in the cache: stored, they
 * would take 8 times the memory of half-precision weights.
 */
#include "internal.h"

/* POINTS numbers a tile.  DEPTH: input channels a stretch.  COLUMNS: output channels of a task.  ROOM: bytes of
 * transformed inputs that may lie in the last cache. */
enum { POINTS = 36, DEPTH = 256, COLUMNS = 32, ROOM = 12 << 20 };

struct job {
	const float *x;
	const struct weight *w;
	bool back;              /* into the input: filters turned by half a turn, in and out exchanged */
	const float *bias;
	float *y;
	int add;
	int n, h, w_px, in, out;
	int across, down;       /* tiles of a picture */
};

bool winograd_pays(const struct weight *w, const struct conv_shape *s)
{
	const double tiles = (double)s->n * ((s->h + 3) / 4) * ((s->w + 3) / 4);

	return w->kh == 3 && w->kw == 3 && s->stride == 1 && s->pad == 1 && s->oh == s->h && s->ow == s->w &&
	       w->in >= 64 && w->out >= 64 && tiles >= 16;
}

/* Top left output of a tile. */
static void tile_corner(const struct job *j, int tile, int *n, int *y, int *x)
{
	*n = tile / (j->across * j->down);
	*y = tile / j->across % j->down * 4;
	*x = tile % j->across * 4;
}

/* Addresses of side x side pixels from y, x on; NULL outside. */
static void pixel_addresses(const float **to, const float *base, const struct job *j, int channels, int side, int n,
			    int y, int x)
{
	int i;

	for (i = 0; i < side * side; i++) {
		int py = y + i / side, px = x + i % side;
		const bool inside = py >= 0 && px >= 0 && py < j->h && px < j->w_px;

		to[i] = inside ? base + (((size_t)n * j->h + py) * j->w_px + px) * channels : NULL;
	}
}

/* A run of tiles whose transformed inputs fit the cache. */
struct stage {
	const struct job *j;
	float *v;               /* [POINTS][tiles][in] */
	int first, tiles;       /* of the batch */
	int each, parts;        /* tiles of a task; tasks beside each other */
};

static void transform_input(struct device *d, const void *arg, int t, int thread)
{
	const struct stage *s = arg;
	const struct job *j = s->j;
	const float *pixels[POINTS];
	int n, y, x;

	tile_corner(j, s->first + t, &n, &y, &x);
	pixel_addresses(pixels, j->x, j, j->in, 6, n, y - 1, x - 1);
	d->k->winograd_input(s->v + (size_t)t * j->in, (size_t)s->tiles * j->in, pixels, j->in);
}

static void transform_output(const struct kernels *k, const struct job *j, const float *m, int first, int tiles, int t,
			     int column, int cols)
{
	const float *pixels[16];
	float *to[16];
	int n, y, x, i;

	tile_corner(j, first + t, &n, &y, &x);
	pixel_addresses(pixels, j->y, j, j->out, 4, n, y, x);
	for (i = 0; i < 16; i++)
		to[i] = pixels[i] ? (float *)pixels[i] + column : NULL;
	k->winograd_output(to, m + (size_t)t * COLUMNS, (size_t)tiles * COLUMNS, cols,
			   j->bias ? j->bias + column : NULL, j->add);
}

/* Columns column.. of rows at.. of each tap's matrix [in,out], packed: [9][panels]. */
static void pack_taps(const struct kernels *k, const struct job *j, float *taps, int column, int cols, int at,
		      int depth, float *wide)
{
	const struct weight *w = j->w;
	const size_t size = w->dtype == DTYPE_F32 ? 4 : 2;
	int t;

	for (t = 0; t < 9; t++) {
		const struct right b = {
			.data = (const char *)w->data + (size_t)(j->back ? 8 - t : t) * w->in * size,
			.dtype = w->dtype, .ld = (size_t)9 * w->in, .transposed = !j->back,
		};

		pack_right(k, &b, taps + t * panel_floats(k, cols, depth), column, cols, at, depth, wide);
	}
}

struct room { float *taps, *u, *m, *wide; };

static struct room room_of(struct device *d, int thread, int tiles)
{
	const size_t panels = panel_floats(d->k, COLUMNS, DEPTH), wide = right_floats(d->k, COLUMNS, DEPTH);
	const size_t m = (size_t)POINTS * tiles * COLUMNS;
	char *at = thread_scratch(d, thread, floats(9 * panels) + floats(POINTS * panels) + floats(m) + floats(wide));

	return (struct room){ carve(&at, 9 * panels), carve(&at, POINTS * panels), carve(&at, m), carve(&at, wide) };
}

/* Some output channels of some tiles of the stage. */
static void multiply_points(struct device *d, const void *arg, int task, int thread)
{
	const struct stage *s = arg;
	const struct job *j = s->j;
	const int column = task / s->parts * COLUMNS, cols = smaller(COLUMNS, j->out - column);
	const int from = task % s->parts * s->each, count = smaller(s->each, s->tiles - from);
	const struct room r = room_of(d, thread, count);
	int at, e, t;

	for (at = 0; at < j->in; at += DEPTH) {
		const int depth = smaller(DEPTH, j->in - at);
		const size_t panels = panel_floats(d->k, cols, depth);

		pack_taps(d->k, j, r.taps, column, cols, at, depth, r.wide);
		d->k->winograd_filter(r.u, r.taps, panels);
		for (e = 0; e < POINTS; e++) {
			const struct block b = { .m = count, .n = cols, .k = depth,
						 .a = s->v + ((size_t)e * s->tiles + from) * j->in + at, .row = j->in,
						 .col = 1, .panels = r.u + e * panels,
						 .c = r.m + (size_t)e * count * COLUMNS, .ldc = COLUMNS, .alpha = 1,
						 .beta = at > 0 };

			d->k->block(&b);
		}
	}
	for (t = 0; t < count; t++)
		transform_output(d->k, j, r.m, s->first + from, count, t, column, cols);
}

static void convolve(struct device *d, const struct job *j)
{
	const int all_tiles = j->n * j->down * j->across, room = ROOM / (POINTS * sizeof(float)) / j->in;
	const int chunk = smaller(all_tiles, room < 32 ? 32 : room), columns = (j->out + COLUMNS - 1) / COLUMNS;
	/* Tiles of a task: fewer when there are threads without one. */
	const int wanted = (2 * d->threads + columns - 1) / columns, part = (chunk + wanted - 1) / wanted;
	const int each = part < 16 ? 16 : part;
	struct stage s = { .j = j, .v = caller_scratch(d, (size_t)POINTS * chunk * j->in * sizeof(float)),
			   .each = each };

	for (s.first = 0; s.first < all_tiles; s.first += chunk) {
		s.tiles = smaller(chunk, all_tiles - s.first);
		s.parts = (s.tiles + each - 1) / each;
		run_tasks(d, s.tiles, (double)s.tiles * j->in * POINTS, transform_input, &s);
		run_tasks(d, s.parts * columns, (double)s.tiles * j->in * j->out * POINTS, multiply_points, &s);
	}
}

void winograd_conv2d(struct device *d, float *y, const float *x, const struct weight *w, const float *bias,
		     const struct conv_shape *s)
{
	const struct job j = { .x = x, .w = w, .bias = bias, .y = y, .n = s->n, .h = s->h, .w_px = s->w, .in = w->in,
			       .out = w->out, .across = (s->w + 3) / 4, .down = (s->h + 3) / 4 };

	convolve(d, &j);
}

void winograd_conv2d_dx(struct device *d, float *dx, const float *dy, const struct weight *w,
			const struct conv_shape *s, int add)
{
	const struct job j = { .x = dy, .w = w, .back = true, .y = dx, .add = add, .n = s->n, .h = s->h, .w_px = s->w,
			       .in = w->out, .out = w->in, .across = (s->w + 3) / 4, .down = (s->h + 3) / 4 };

	convolve(d, &j);
}
