/* The VAE's residual blocks and convolutions computed band by band, in less memory. */
#include "internal.h"
#include "ops.h"

/*
 * A convolution of a band is wrong in the row at the band's edge, because it read zeros beyond the edge.  So each band
 * is computed with more rows around it, its halo.  Two convolutions make two wrong rows; the halo has four, because
 * bands begin where Winograd's tiles of 4 rows begin, so that a row is computed from the same numbers in a band and in
 * the whole picture.  The outermost input row of a tile enters only its outermost output row, so the other rows of an
 * edge tile are right to the bit.
 */
enum { HALO = 4 };

struct bands {
	struct tape *t;
	const struct residual *r;
	const struct conv *up;          /* of the block's input, doubled in size; or NULL */
	float *x;                       /* one sample */
	int h, w, rows;                 /* of the sample, once it is doubled */
	float *g, *y;                   /* a band with its halo each: output of a norm, output of a convolution */
	float *stats1, *stats2, *sums;
};

static struct norm_shape shape_of(const struct bands *b, const struct norm *n, int rows)
{
	return (struct norm_shape){ 1, rows * b->w, n->c, n->groups, n->eps, true };
}

static void conv_rows(const struct bands *b, float *y, const float *x, int rows, const struct conv *c)
{
	const struct conv_shape k = { 1, rows, b->w, rows, b->w, 1, c->w.kh / 2 };

	tape_backend(b->t)->conv2d(tape_device(b->t), f32(y), f32(x), &c->w, c->bias, &k);
}

/* y = conv(silu(norm(in))) of so many rows; in may be y */
static void norm_and_conv(const struct bands *b, float *y, const float *in, int rows, const struct norm *n,
			  const float *stats, const struct conv *c)
{
	const struct norm_shape s = shape_of(b, n, rows);

	tape_backend(b->t)->group_norm_apply(tape_device(b->t), b->g, stats, in, n->gain, n->bias, &s);
	conv_rows(b, y, b->g, rows, c);
}

static void add_sums(const struct bands *b, float *stats, const float *x, int first, int rows, const struct norm *n)
{
	const struct norm_shape s = shape_of(b, n, b->h);

	tape_backend(b->t)->group_norm_sums(tape_device(b->t), stats, b->sums, x, first * b->w, rows * b->w, &s);
}

static void copy_rows(const struct bands *b, float *y, const float *x, int rows, int channels)
{
	tape_backend(b->t)->copy(tape_device(b->t), y, x, (size_t)rows * b->w * channels);
}

struct span { int first, end, from, to; };      /* rows of a band; with its halo */

static struct span span_at(const struct bands *b, int first)
{
	const int end = b->h - first < b->rows ? b->h : first + b->rows;

	return (struct span){ first, end, first < HALO ? 0 : first - HALO, b->h - end < HALO ? b->h : end + HALO };
}

static float *band_of(const struct bands *b, int channels)
{
	return tape_scratch(b->t, (size_t)(b->rows + 2 * HALO) * b->w * channels);
}

static void check(const struct bands *b, const struct conv *c)
{
	must(b->rows > 0 && b->rows % HALO == 0 && c->stride == 1 && c->w.kh == 3 && !c->branch,
	     "bands without adapters");
}

/* ---- a residual block in its input's memory ---- */

static size_t row_floats(const struct bands *b) { return (size_t)b->w * b->r->norm1->c; }

/* Statistics of the first convolution's output: computes each band of it, and keeps its sums alone. */
static void look_ahead(const struct bands *b)
{
	const struct residual *r = b->r;

	for (int at = 0; at < b->h; at += b->rows) {
		const struct span s = span_at(b, at);
		norm_and_conv(b, b->y, b->x + s.from * row_floats(b), s.to - s.from, r->norm1, b->stats1, r->conv1);
		add_sums(b, b->stats2, b->y + (s.first - s.from) * row_floats(b), s.first, s.end - s.first, r->norm2);
	}
}

/* x += ... band by band.  The halo above a band is overwritten by then; `old` is a copy from before. */
static void write_over(const struct bands *b, float *in, float *old)
{
	const struct residual *r = b->r;
	const struct backend *be = tape_backend(b->t);
	struct device *d = tape_device(b->t);
	const size_t each = row_floats(b);

	for (int at = 0; at < b->h; at += b->rows) {
		const struct span s = span_at(b, at);
		const int above = s.first - s.from, keep = s.end < HALO ? s.end : HALO;
		if (above)
			be->copy(d, in, old + (HALO - above) * each, above * each);
		be->copy(d, in + above * each, b->x + s.first * each, (s.to - s.first) * each);
		norm_and_conv(b, b->y, in, s.to - s.from, r->norm1, b->stats1, r->conv1);
		norm_and_conv(b, b->y, b->y, s.to - s.from, r->norm2, b->stats2, r->conv2);
		be->copy(d, old + (HALO - keep) * each, in + (s.end - keep - s.from) * each, keep * each);
		be->add(d, f32(b->x + s.first * each), f32(in + above * each), f32(b->y + above * each),
			(s.end - s.first) * each);
	}
}

static void run_one(struct bands *b, float *in, float *old)
{
	add_sums(b, b->stats1, b->x, 0, b->h, b->r->norm1);
	look_ahead(b);
	write_over(b, in, old);
}

struct tensor *op_residual_bands(struct tape *t, struct tensor *x, const struct residual *r, int rows)
{
	const size_t stats = (size_t)2 * r->norm1->groups + 2 * r->norm2->groups;
	struct bands b = { .t = t, .r = r, .h = x->h, .w = x->w, .rows = rows };
	float *in = band_of(&b, x->c), *old = tape_scratch(t, (size_t)HALO * x->w * x->c);

	check(&b, r->conv1);
	check(&b, r->conv2);
	must(r->conv1->w.in == x->c && r->conv1->w.out == x->c && r->conv2->w.out == x->c, "bands");
	b.g = band_of(&b, x->c);
	b.y = band_of(&b, x->c);
	b.stats1 = tape_scratch(t, stats);
	b.stats2 = b.stats1 + 2 * r->norm1->groups;
	b.sums = tape_scratch(t, group_sums_floats(x->c));
	for (int i = 0; i < x->n; i++) {
		b.x = x->data + i * x->h * row_floats(&b);
		run_one(&b, in, old);
	}
	tape_scratch_give(t, b.sums);
	tape_scratch_give(t, b.stats1);
	tape_scratch_give(t, b.y);
	tape_scratch_give(t, b.g);
	tape_scratch_give(t, old);
	tape_scratch_give(t, in);
	return x;
}

/* ---- a convolution of what is doubled in size, or normed ---- */

/* Rows of the doubled sample. */
static void double_rows(const struct bands *b, float *y, const struct span *s, int channels)
{
	const size_t row = (size_t)b->w / 2 * channels;

	tape_backend(b->t)->upsample(tape_device(b->t), f32(y), f32(b->x + s->from / 2 * row), 1, (s->to - s->from) / 2,
				     b->w / 2, channels);
}

static void conv_bands(const struct bands *b, float *out, const struct norm *n, const struct conv *c)
{
	for (int at = 0; at < b->h; at += b->rows) {
		const struct span s = span_at(b, at);
		const int rows = s.to - s.from;
		if (n) {
			norm_and_conv(b, b->y, b->x + (size_t)s.from * b->w * c->w.in, rows, n, b->stats1, c);
		} else {
			double_rows(b, b->g, &s, c->w.in);
			conv_rows(b, b->y, b->g, rows, c);
		}
		copy_rows(b, out + (size_t)s.first * b->w * c->w.out,
			  b->y + (size_t)(s.first - s.from) * b->w * c->w.out, s.end - s.first, c->w.out);
	}
}

struct tensor *op_conv_bands(struct tape *t, struct tensor *x, const struct norm *n, const struct conv *c, int rows)
{
	const int size = n ? 1 : 2;
	struct bands b = { .t = t, .h = size * x->h, .w = size * x->w, .rows = rows };
	struct tensor *y = tensor_new(t, x->n, b.h, b.w, c->w.out);

	check(&b, c);
	must(x->c == c->w.in, "bands: input channels");
	b.g = band_of(&b, x->c);
	b.y = band_of(&b, c->w.out);
	b.stats1 = tape_scratch(t, n ? 2 * n->groups : 1);
	b.sums = tape_scratch(t, group_sums_floats(x->c));
	for (int i = 0; i < x->n; i++) {
		b.x = x->data + (size_t)i * x->h * x->w * x->c;
		if (n)
			add_sums(&b, b.stats1, b.x, 0, b.h, n);
		conv_bands(&b, y->data + (size_t)i * b.h * b.w * c->w.out, n, c);
	}
	tape_scratch_give(t, b.sums);
	tape_scratch_give(t, b.stats1);
	tape_scratch_give(t, b.y);
	tape_scratch_give(t, b.g);
	return tape_record(t, y, false, (struct node){ .in = { x } });
}

/* ---- a residual block with a shortcut ---- */

/* Rows of the block's input: where they lie, or computed into `wide`, then right but for the halo.  Writes over g. */
static const float *input_rows(const struct bands *b, const struct span *s, float *wide)
{
	if (!b->up)
		return b->x + (size_t)s->from * b->w * b->r->norm1->c;
	double_rows(b, b->g, s, b->r->norm1->c);
	conv_rows(b, wide, b->g, s->to - s->from, b->up);
	return wide;
}

static void input_sums(const struct bands *b, float *wide)
{
	const int c = b->r->norm1->c;

	for (int at = 0; at < b->h; at += b->rows) {
		const struct span s = span_at(b, at);
		const float *in = input_rows(b, &s, wide);
		add_sums(b, b->stats1, in + (size_t)(s.first - s.from) * b->w * c, s.first, s.end - s.first,
			 b->r->norm1);
	}
}

/* out = conv1(silu(norm1(input))), and its statistics */
static void first_half(const struct bands *b, float *out, float *wide)
{
	const struct residual *r = b->r;
	const size_t each = (size_t)b->w * r->norm2->c;

	for (int at = 0; at < b->h; at += b->rows) {
		const struct span s = span_at(b, at);
		const float *in = input_rows(b, &s, wide), *y = b->y + (s.first - s.from) * each;
		norm_and_conv(b, b->y, in, s.to - s.from, r->norm1, b->stats1, r->conv1);
		add_sums(b, b->stats2, y, s.first, s.end - s.first, r->norm2);
		copy_rows(b, out + s.first * each, y, s.end - s.first, r->norm2->c);
	}
}

/* out = shortcut(input) + conv2(silu(norm2(out))); `old` and `half` as in write_over() */
static void second_half(const struct bands *b, float *out, float *wide, float *half, float *old)
{
	const struct residual *r = b->r;
	const struct backend *be = tape_backend(b->t);
	struct device *d = tape_device(b->t);
	const size_t each = (size_t)b->w * r->norm2->c;

	for (int at = 0; at < b->h; at += b->rows) {
		const struct span s = span_at(b, at);
		const int above = s.first - s.from, rows = s.end - s.first, keep = s.end < HALO ? s.end : HALO;
		const float *in = input_rows(b, &s, wide) + (size_t)above * b->w * r->norm1->c;
		if (above)
			be->copy(d, half, old + (HALO - above) * each, above * each);
		be->copy(d, half + above * each, out + s.first * each, (s.to - s.first) * each);
		be->copy(d, old + (HALO - keep) * each, half + (s.end - keep - s.from) * each, keep * each);
		norm_and_conv(b, b->y, half, s.to - s.from, r->norm2, b->stats2, r->conv2);
		be->linear(d, f32(half), f32(in), &r->shortcut->w, r->shortcut->bias, rows * b->w, NULL);
		be->add(d, f32(out + s.first * each), f32(half), f32(b->y + above * each), rows * each);
	}
}

struct tensor *op_shortcut_bands(struct tape *t, struct tensor *x, const struct conv *up, const struct residual *r,
				 int rows)
{
	const size_t stats = (size_t)2 * r->norm1->groups + 2 * r->norm2->groups;
	const int size = up ? 2 : 1, c = r->norm2->c;
	struct bands b = { .t = t, .r = r, .up = up, .h = size * x->h, .w = size * x->w, .rows = rows };
	struct tensor *y = tensor_new(t, x->n, b.h, b.w, c);
	float *half = band_of(&b, c), *old = tape_scratch(t, (size_t)HALO * b.w * c);
	float *wide = band_of(&b, up ? x->c : 1);

	check(&b, r->conv1);
	check(&b, r->conv2);
	must(r->shortcut->w.in == x->c && r->shortcut->w.out == c && !r->shortcut->branch, "bands");
	b.g = band_of(&b, x->c > c ? x->c : c);
	b.y = band_of(&b, c);
	b.stats1 = tape_scratch(t, stats);
	b.stats2 = b.stats1 + 2 * r->norm1->groups;
	b.sums = tape_scratch(t, group_sums_floats(x->c > c ? x->c : c));
	for (int i = 0; i < x->n; i++) {
		float *out = y->data + (size_t)i * b.h * b.w * c;
		b.x = x->data + (size_t)i * x->h * x->w * x->c;
		input_sums(&b, wide);
		first_half(&b, out, wide);
		second_half(&b, out, wide, half, old);
	}
	tape_scratch_give(t, b.sums);
	tape_scratch_give(t, b.stats1);
	tape_scratch_give(t, b.y);
	tape_scratch_give(t, b.g);
	tape_scratch_give(t, wide);
	tape_scratch_give(t, old);
	tape_scratch_give(t, half);
	return tape_record(t, y, false, (struct node){ .in = { x } });
}
