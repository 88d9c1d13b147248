/* The VAE's residual block computed band by band, in less memory. */
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
	float *x;                       /* one sample */
	int h, w, c, rows;
	float *g, *y;                   /* a band with its halo each: output of a norm, output of a convolution */
	float *stats1, *stats2, *sums;
};

static size_t row_floats(const struct bands *b) { return (size_t)b->w * b->c; }

static struct norm_shape shape_of(const struct bands *b, const struct norm *n, int rows)
{
	return (struct norm_shape){ 1, rows * b->w, b->c, n->groups, n->eps, true };
}

/* y = conv(silu(norm(in))) of so many rows; in may be y */
static void norm_and_conv(const struct bands *b, float *y, const float *in, int rows, const struct norm *n,
			  const float *stats, const struct conv *c)
{
	const struct backend *be = tape_backend(b->t);
	const struct norm_shape s = shape_of(b, n, rows);
	const struct conv_shape k = { 1, rows, b->w, rows, b->w, 1, c->w.kh / 2 };

	be->group_norm_apply(tape_device(b->t), b->g, stats, in, n->gain, n->bias, &s);
	be->conv2d(tape_device(b->t), y, b->g, &c->w, c->bias, &k);
}

static void add_sums(const struct bands *b, float *stats, const float *x, int first, int rows, const struct norm *n)
{
	const struct norm_shape s = shape_of(b, n, b->h);

	tape_backend(b->t)->group_norm_sums(tape_device(b->t), stats, b->sums, x, first * b->w, rows * b->w, &s);
}

struct span { int first, end, from, to; };      /* rows of a band; with its halo */

static struct span span_at(const struct bands *b, int first)
{
	const int end = b->h - first < b->rows ? b->h : first + b->rows;

	return (struct span){ first, end, first < HALO ? 0 : first - HALO, b->h - end < HALO ? b->h : end + HALO };
}

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
		be->add(d, b->x + s.first * each, in + above * each, b->y + above * each, (s.end - s.first) * each);
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
	const size_t band = (size_t)(rows + 2 * HALO) * x->w * x->c,
		stats = (size_t)2 * r->norm1->groups + 2 * r->norm2->groups;
	struct bands b = { .t = t, .r = r, .h = x->h, .w = x->w, .c = x->c, .rows = rows };
	float *in = tape_scratch(t, band), *old = tape_scratch(t, (size_t)HALO * x->w * x->c);

	must(rows % HALO == 0 && rows > 0 && r->conv1->w.in == x->c && r->conv1->w.out == x->c &&
	     r->conv2->w.out == x->c, "bands");
	must(!r->conv1->branch && !r->conv2->branch && r->conv1->stride == 1 && r->conv2->stride == 1,
	     "bands without adapters");
	b.g = tape_scratch(t, band);
	b.y = tape_scratch(t, band);
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
