/*
 * gemm.c - matrix products: one driver for linear layers, adapters and convolutions, which differ in how they pack.
 *
 * The result is cut into tiles, each computed by one thread.  For one range of k after another, it packs the columns of
 * the right matrix, widened to float, and multiplies the rows of the left matrix by them.  The cuts may depend on the
 * number of threads, since an element's sum is taken in the same order in any tile (body_product.h).
 *
 * Not oneDNN's or OpenBLAS': these widen no fp16 or bf16 weight while packing, sum in an order that depends on the cut,
 * and would be a library of 39 MB to load.  On SDXL's shapes with two threads of a Zen 3 (peak 204 GFLOP/s):
 * 1024x1280x1280 179 against 175 and 172, 4096x640x640 178 against 168 and 163, LoRA's down at rank 32 182 against 184
 * and 76 (make bench).  Weights stay in the file's type: widening each tile at each use costs 1 to 3 % of a product.
 */
#include <string.h>
#include "internal.h"

/* DEPTH: the length of a range of k; a panel of right columns (16 KB) then fits the first-level cache.  PASS: rows of
 * the left matrix that stay in the second-level cache (96 KB) while the panels are used. */
enum { DEPTH = 256, PASS = 96, TILE_M = 1024, TILE_N = 512 };
/* Rows that are packed together.  They are neighbours in a panel, whose cache lines are 16 KB apart and would otherwise
 * be written one row at a time. */
enum { RUN = 8 };

/* The fewest multiplications that are worth a thread of their own. */
#define SMALL_TILE 2.5e5

struct cut { int rows, cols, across, down; };
struct tiling { const struct product *p; struct cut cut; };

static int round_up(int n, int unit) { return (n + unit - 1) / unit * unit; }

size_t panel_floats(const struct kernels *k, int n, int depth)
{
	return (size_t)round_up(n, k->nr) * depth;
}

/* Packs one panel from n rows of floats or halves, 0 < n <= nr, each starting at x + i * ld elements.  The panel is
 * padded with copies of the first row: they have the right depth, and their products are never stored. */
static void pack_panel(const struct kernels *k, float *panel, const void *x, enum dtype dtype, size_t ld, int n,
		       int depth, float *wide)
{
	const size_t size = dtype == DTYPE_F32 ? 4 : 2;
	const float *rows[MAX_TILE_COLS];
	int i;

	for (i = 0; i < k->nr; i++) {
		const char *row = (const char *)x + i * ld * size;

		if (i >= n) {
			rows[i] = rows[0];
		} else if (dtype == DTYPE_F32) {
			rows[i] = (const float *)row;
		} else {
			rows[i] = wide + i * depth;
			k->widen(wide + i * depth, row, dtype, depth);
		}
	}
	k->pack_columns(panel, rows, depth);
}

void pack_transposed(const struct kernels *k, float *panels, const float *x, size_t ld, int n, int depth)
{
	int j;

	for (j = 0; j < n; j += k->nr, panels += (size_t)k->nr * depth)
		pack_panel(k, panels, x + j * ld, DTYPE_F32, ld, smaller(n - j, k->nr), depth, NULL);
}

void pack_matrix(const struct kernels *k, float *panels, const float *x, size_t ld, int n, int depth)
{
	const float *rows[RUN];
	int i, r;

	for (i = 0; i < depth; i += RUN) {
		for (r = 0; r < RUN && i + r < depth; r++)
			rows[r] = x + (i + r) * ld;
		k->pack_rows(panels + (size_t)i * k->nr, (size_t)k->nr * depth, rows, r, n);
	}
}

static const void *right_row(const struct right *b, int k)
{
	return b->row ? b->row(b, k) : (const char *)b->data + k * b->ld * (b->dtype == DTYPE_F32 ? 4 : 2);
}

/* Row k, columns j..j+n, as floats; NULL: zeros. */
static const float *wide_row(const struct kernels *kern, const struct right *b, int k, int j, int n, float *wide)
{
	const char *row = right_row(b, k);

	if (!row)
		return NULL;
	if (b->dtype == DTYPE_F32)
		return (const float *)row + j;
	kern->widen(wide, (const uint16_t *)row + j, b->dtype, n);
	return wide;
}

size_t right_floats(const struct kernels *k, int n, int depth)
{
	return (size_t)depth * k->nr + RUN * (size_t)n;
}

void pack_right(const struct kernels *kern, const struct right *b, float *panels, int j, int n, int k, int depth,
		float *wide)
{
	const size_t size = b->dtype == DTYPE_F32 ? 4 : 2, stride = (size_t)kern->nr * depth;
	const float *rows[RUN];
	int i, r;

	if (b->transposed) {
		for (i = 0; i < n; i += kern->nr)
			pack_panel(kern, panels + (size_t)i * depth,
				   (const char *)b->data + ((j + i) * b->ld + k) * size, b->dtype, b->ld,
				   smaller(n - i, kern->nr), depth, wide);
		return;
	}
	for (i = 0; i < depth; i += RUN) {
		for (r = 0; r < RUN && i + r < depth; r++)
			rows[r] = wide_row(kern, b, k + i + r, j, n, wide + (size_t)r * n);
		kern->pack_rows(panels + (size_t)i * kern->nr, stride, rows, r, n);
	}
}

static void multiply_rows(const struct kernels *k, const struct product *p, struct block *b, int i, int j, int at,
			  float *gathered)
{
	if (p->a.gather) {
		p->a.gather(&p->a, gathered, b->k, i, b->m, at, b->k);
		b->a = gathered;
		b->row = b->k;
		b->col = 1;
	} else {
		b->a = p->a.data + i * p->a.row + at * p->a.col;
		b->row = p->a.row;
		b->col = p->a.col;
	}
	b->c = p->c + i * p->ldc + j;
	k->block(b);
}

static void multiply_tile(struct device *d, const void *arg, int t, int thread)
{
	const struct tiling *tiling = arg;
	const struct product *p = tiling->p;
	const struct cut *cut = &tiling->cut;
	const int i0 = t / cut->across * cut->rows, j0 = t % cut->across * cut->cols;
	const int m = smaller(cut->rows, p->m - i0), n = smaller(cut->cols, p->n - j0);
	const size_t panels = panel_floats(d->k, n, DEPTH), wide = right_floats(d->k, n, DEPTH);
	const size_t left = p->a.gather ? PASS * DEPTH : 0;
	char *at = thread_scratch(d, thread, floats(panels) + floats(wide) + floats(left));
	float *packed = carve(&at, panels), *widened = carve(&at, wide), *gathered = carve(&at, left);
	int i, k;

	for (k = 0; k < p->k; k += DEPTH) {
		struct block b = { .n = n, .k = smaller(DEPTH, p->k - k), .panels = packed, .ldc = p->ldc,
				   .alpha = p->alpha, .beta = k ? 1 : p->beta, .bias = p->bias &&
				   !k ? p->bias + j0 : NULL };

		pack_right(d->k, &p->b, packed, j0, n, k, b.k, widened);
		for (i = 0; i < m; i += PASS) {
			b.m = smaller(PASS, m - i);
			multiply_rows(d->k, p, &b, i0 + i, j0, k, gathered);
		}
	}
}

static struct cut cut_into(const struct device *d, const struct product *p, int down, int across)
{
	struct cut c = { .rows = round_up((p->m + down - 1) / down, d->k->mr),
			 .cols = round_up((p->n + across - 1) / across, d->k->nr) };

	/* Rounded up, fewer may do. */
	c.down = (p->m + c.rows - 1) / c.rows;
	c.across = (p->n + c.cols - 1) / c.cols;
	return c;
}

/* Cuts across the longer side until every thread has a tile, all tiles have one size, and their number is a multiple of
 * the threads'. */
static struct cut cut_tiles(const struct device *d, const struct product *p)
{
	const double work = (double)p->m * p->n * p->k;
	const int turns = work > 16 * SMALL_TILE * d->threads ? 2 : 1;
	int down = (p->m + TILE_M - 1) / TILE_M, across = (p->n + TILE_N - 1) / TILE_N;

	for (;;) {
		const struct cut c = cut_into(d, p, down, across);
		const int tiles = c.down * c.across;

		if (work < tiles * SMALL_TILE || tiles >= 8 * d->threads ||
		    (tiles >= turns * d->threads && tiles % d->threads == 0))
			return c;
		if (c.rows <= d->k->mr && c.cols <= d->k->nr)
			return c;
		if (c.rows > d->k->mr && (c.rows >= c.cols || c.cols <= d->k->nr))
			down++;
		else
			across++;
	}
}

void multiply(struct device *d, const struct product *p)
{
	const struct tiling tiling = { p, cut_tiles(d, p) };

	run_tasks(d, tiling.cut.across * tiling.cut.down, (double)p->m * p->n * p->k, multiply_tile, &tiling);
}

void cpu_linear(struct device *d, float *y, const float *x, const struct weight *w, const float *bias, int rows)
{
	const struct product p = {
		.m = rows, .n = w->out, .k = w->in, .alpha = 1, .bias = bias, .c = y, .ldc = w->out,
		.a = { .data = x, .row = w->in, .col = 1 },
		.b = { .data = w->data, .dtype = w->dtype, .ld = w->in, .transposed = true },
	};

	multiply(d, &p);
}

void cpu_linear_dx(struct device *d, float *dx, const float *dy, const struct weight *w, int rows, int add)
{
	const struct product p = {
		.m = rows, .n = w->in, .k = w->out, .alpha = 1, .beta = add, .c = dx, .ldc = w->in,
		.a = { .data = dy, .row = w->out, .col = 1 },
		.b = { .data = w->data, .dtype = w->dtype, .ld = w->in },
	};

	multiply(d, &p);
}

void cpu_gemm(struct device *d, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
	      const float *b, int ldb, float beta, float *c, int ldc)
{
	const struct product p = {
		.m = m, .n = n, .k = k, .alpha = alpha, .beta = beta, .c = c, .ldc = ldc,
		.a = { .data = a, .row = ta ? 1 : lda, .col = ta ? lda : 1 },
		.b = { .data = b, .dtype = DTYPE_F32, .ld = ldb, .transposed = tb },
	};

	multiply(d, &p);
}
