/*
 * winograd.c - 3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3), with a quarter of the multiplications.
 *
 * The picture is cut into tiles of 4x4 outputs.  Each reads 6x6 inputs, which a transform turns into 36 numbers a
 * channel; filters turn into 36 numbers as well, and number e of the outputs is a matrix product over channels.
 * Filters are transformed again in every call: stored, they would take 8 times the memory of half-precision weights.
 *
 * Of few channels (the VAE's at full size) all transformed filters fit the last cache, and the inputs and products of
 * a group of tiles the second: each thread computes a group from end to end.  Of more, the transformed inputs of a
 * stage of tiles are in the last cache, and filters are transformed for some output channels at a time.
 */
#include "internal.h"

/* POINTS numbers a tile.  DEPTH: input channels a stretch.  COLUMNS: output channels of a task.  ROOM: bytes of
 * transformed inputs, or filters, that may lie in the last cache; NEAR: of inputs and products in the second. */
enum { POINTS = 36, DEPTH = 256, COLUMNS = 32, ROOM = 12 << 20, NEAR = 3 << 18 };

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

/* From the first number of one point to that of the next, in floats, where a point has so many.  Without a line of the
 * cache between them, all 36 would lie a multiple of 4 KB apart, in the same few places of the caches. */
static size_t apart(size_t count) { return count + 16; }

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static int tiles_of(const struct job *j) { return j->n * j->down * j->across; }
static int columns_of(const struct job *j) { return (j->out + COLUMNS - 1) / COLUMNS; }
static size_t filter_floats(const struct job *j) { return POINTS * apart((size_t)COLUMNS * j->in); }

/* What a thread has that multiplies for a stage: packed taps, transformed filters, products of tiles. */
static size_t room_bytes(int tiles)
{
	return floats(9 * apart(COLUMNS * DEPTH)) + floats(POINTS * apart(COLUMNS * DEPTH)) +
	       floats(POINTS * apart((size_t)tiles * COLUMNS));
}

/* For a group of tiles: their transformed inputs, and products. */
static size_t group_bytes(const struct job *j, int tiles)
{
	return floats(POINTS * apart((size_t)tiles * j->in)) + floats(POINTS * apart((size_t)tiles * COLUMNS));
}

/* How a convolution is cut, and bytes of scratch: the caller's, and each thread's. */
struct cut {
	int chunk;              /* tiles of a stage; 0: in groups */
	int each;               /* tiles of a task */
	size_t caller, thread;
};

static struct cut cut_into_stages(const struct job *j, int threads)
{
	const int room = ROOM / (POINTS * sizeof(float)) / j->in, columns = columns_of(j);
	const int chunk = smaller(tiles_of(j), room < 32 ? 32 : room);
	/* Tiles of a task: fewer when there are threads without one. */
	const int wanted = (2 * threads + columns - 1) / columns, part = (chunk + wanted - 1) / wanted;
	const int each = part < 16 ? 16 : part;

	return (struct cut){ chunk, each, POINTS * apart((size_t)chunk * j->in) * sizeof(float),
			     room_bytes(each) };
}

static struct cut cut_of(const struct job *j, int threads)
{
	const size_t filters = columns_of(j) * filter_floats(j) * sizeof(float);
	const int near = NEAR / (POINTS * sizeof(float)) / (j->in + COLUMNS);
	const int each = smaller(near, tiles_of(j) / (4 * threads));

	if (each < 16 || j->in > DEPTH || filters > ROOM)
		return cut_into_stages(j, threads);
	return (struct cut){ 0, each, filters, larger(group_bytes(j, each), room_bytes(0)) };
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
	d->k->winograd_input(s->v + (size_t)t * j->in, apart((size_t)s->tiles * j->in), pixels, j->in);
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
	k->winograd_output(to, m + (size_t)t * COLUMNS, apart((size_t)tiles * COLUMNS), cols,
			   j->bias ? j->bias + column : NULL, j->add);
}

/* Columns column.. of rows at.. of each tap's matrix [in,out], packed: [9][panels]. */
static void pack_taps(const struct kernels *k, const struct job *j, float *taps, int column, int cols, int at,
		      int depth)
{
	struct right b = right_of(j->w, (size_t)9 * j->w->in);
	int t;

	b.transposed = !j->back;
	for (t = 0; t < 9; t++) {
		b.first = (size_t)(j->back ? 8 - t : t) * j->w->in;
		pack_right(k, &b, taps + t * apart(panel_floats(k, cols, depth)), column, cols, at, depth);
	}
}

struct room { float *taps, *u, *m; };

static struct room room_of(struct device *d, int thread, int tiles)
{
	char *at = thread_scratch(d, thread, room_bytes(tiles));

	return (struct room){ carve(&at, 9 * apart(COLUMNS * DEPTH)), carve(&at, POINTS * apart(COLUMNS * DEPTH)),
			      carve(&at, POINTS * apart((size_t)tiles * COLUMNS)) };
}

/* The products of all points; b's are the first one's.  a, panels, c: floats from one to the next.  far: rows of a come
 * from beyond the second cache, and each point's are fetched meanwhile. */
static void multiply_each(const struct kernels *k, struct block *b, size_t a, size_t panels, size_t c, bool far)
{
	int e;

	for (e = 0; e < POINTS; e++, b->a += a, b->panels += panels, b->c += c) {
		const int rows = far && e + 1 < POINTS ? b->m : 0;

		b->soon = (struct soon){ (const char *)(b->a + a), b->row * sizeof(float), rows,
					 b->k * (int)sizeof(float) };
		k->block(b);
	}
}

/* Some output channels of some tiles of the stage. */
static void multiply_points(struct device *d, const void *arg, int task, int thread)
{
	const struct stage *s = arg;
	const struct job *j = s->j;
	const int column = task / s->parts * COLUMNS, cols = smaller(COLUMNS, j->out - column);
	const int from = task % s->parts * s->each, count = smaller(s->each, s->tiles - from);
	const struct room r = room_of(d, thread, count);
	int at, t;

	for (at = 0; at < j->in; at += DEPTH) {
		const int depth = smaller(DEPTH, j->in - at);
		const size_t panels = panel_floats(d->k, cols, depth);
		struct block b = { .m = count, .n = cols, .k = depth, .a = s->v + (size_t)from * j->in + at,
				   .row = j->in, .col = 1, .panels = r.u, .c = r.m, .ldc = COLUMNS,
				   .alpha = 1, .beta = at > 0 };

		pack_taps(d->k, j, r.taps, column, cols, at, depth);
		d->k->winograd_filter(r.u, r.taps, apart(panels), panels);
		multiply_each(d->k, &b, apart((size_t)s->tiles * j->in), apart(panels), apart((size_t)count * COLUMNS),
			      true);
	}
	for (t = 0; t < count; t++)
		transform_output(d->k, j, r.m, s->first + from, count, t, column, cols);
}

static void convolve_in_stages(struct device *d, const struct job *j, const struct cut *c)
{
	const int all_tiles = tiles_of(j), columns = columns_of(j);
	struct stage s = { .j = j, .v = caller_scratch(d, c->caller), .each = c->each };

	for (s.first = 0; s.first < all_tiles; s.first += c->chunk) {
		s.tiles = smaller(c->chunk, all_tiles - s.first);
		s.parts = (s.tiles + c->each - 1) / c->each;
		run_tasks(d, s.tiles, (double)s.tiles * j->in * POINTS, transform_input, &s);
		run_tasks(d, s.parts * columns, (double)s.tiles * j->in * j->out * POINTS, multiply_points, &s);
	}
}

/* Groups of tiles, each computed from end to end. */
struct groups {
	const struct job *j;
	float *u;               /* [columns][POINTS][panels] */
	int tiles, each;        /* of the batch; of a group */
};

static void transform_filters(struct device *d, const void *arg, int task, int thread)
{
	const struct groups *g = arg;
	const int column = task * COLUMNS, cols = smaller(COLUMNS, g->j->out - column);
	const size_t panels = panel_floats(d->k, cols, g->j->in);
	const struct room r = room_of(d, thread, 0);

	pack_taps(d->k, g->j, r.taps, column, cols, 0, g->j->in);
	d->k->winograd_filter(g->u + task * filter_floats(g->j), r.taps, apart(panels), panels);
}

static void convolve_group(struct device *d, const void *arg, int task, int thread)
{
	const struct groups *g = arg;
	const struct job *j = g->j;
	const int first = task * g->each, count = smaller(g->each, g->tiles - first);
	const size_t inputs = apart((size_t)count * j->in), products = apart((size_t)count * COLUMNS);
	char *at = thread_scratch(d, thread, group_bytes(j, count));
	float *v = carve(&at, POINTS * inputs), *m = carve(&at, POINTS * products);
	const struct stage s = { .j = j, .v = v, .first = first, .tiles = count };
	int t, column;

	for (t = 0; t < count; t++)
		transform_input(d, &s, t, thread);
	for (column = 0; column < j->out; column += COLUMNS) {
		const int cols = smaller(COLUMNS, j->out - column);
		struct block b = { .m = count, .n = cols, .k = j->in, .a = v, .row = j->in, .col = 1,
				   .panels = g->u + column / COLUMNS * filter_floats(j), .c = m, .ldc = COLUMNS,
				   .alpha = 1 };

		multiply_each(d->k, &b, inputs, apart(panel_floats(d->k, cols, j->in)), products, false);
		for (t = 0; t < count; t++)
			transform_output(d->k, j, m, first, count, t, column, cols);
	}
}

static void convolve_in_groups(struct device *d, const struct job *j, const struct cut *c)
{
	const struct groups g = { .j = j, .u = caller_scratch(d, c->caller), .tiles = tiles_of(j), .each = c->each };

	run_tasks(d, columns_of(j), (double)j->in * j->out * POINTS, transform_filters, &g);
	run_tasks(d, (g.tiles + g.each - 1) / g.each, (double)g.tiles * j->in * j->out * POINTS, convolve_group, &g);
}

static void convolve(struct device *d, const struct job *j)
{
	const struct cut c = cut_of(j, d->threads);

	if (c.chunk)
		convolve_in_stages(d, j, &c);
	else
		convolve_in_groups(d, j, &c);
}

/* back: a convolution from y into x, of gradients */
static struct job job_of(const struct weight *w, const struct conv_shape *s, bool back)
{
	return (struct job){ .w = w, .back = back, .n = s->n, .h = s->h, .w_px = s->w, .in = back ? w->out : w->in,
			     .out = back ? w->in : w->out, .across = (s->w + 3) / 4, .down = (s->h + 3) / 4 };
}

void winograd_conv2d(struct device *d, float *y, const float *x, const struct weight *w, const float *bias,
		     const struct conv_shape *s)
{
	struct job j = job_of(w, s, false);

	j.x = x;
	j.bias = bias;
	j.y = y;
	convolve(d, &j);
}

void winograd_conv2d_dx(struct device *d, float *dx, const float *dy, const struct weight *w,
			const struct conv_shape *s, int add)
{
	struct job j = job_of(w, s, true);

	j.x = dy;
	j.y = dx;
	j.add = add;
	convolve(d, &j);
}

size_t winograd_scratch(const struct weight *w, const struct conv_shape *s, int threads)
{
	const struct job there = job_of(w, s, false), back = job_of(w, s, true);
	const struct cut a = cut_of(&there, threads), b = cut_of(&back, threads);

	return larger(a.caller + threads * a.thread, b.caller + threads * b.thread);
}
