/*
 * gemm.c - matrix products: one driver for linear layers, adapters and convolutions, which differ in how they pack.
 *
 * The result is cut into tiles, each computed by one thread.  For some ranges of k after others, it packs the columns
 * of the right matrix, widened to float, and multiplies the rows of the left matrix by them, range by range.  The cuts
 * may depend on the number of threads, since an element's sum is taken in the same order in any tile
 * (body_product.h).
 *
 * Not oneDNN's or OpenBLAS': these widen no fp16 or bf16 weight while packing, sum in an order that depends on the cut,
 * and would be a library of 39 MB to load.  On SDXL's shapes with two threads of a Zen 3 (peak 204 GFLOP/s):
 * 1024x1280x1280 179 against 175 and 172, 4096x640x640 178 against 168 and 163, LoRA's down at rank 32 182 against 184
 * and 76 (make bench).  Weights stay in the file's type: widening each tile at each use costs 1 to 3 % of a product.
 */
#include <string.h>
#include "internal.h"

/* DEPTH: the length of a range of k: a panel of right columns is then 16 or 32 KB.  DEEP: rows of the right matrix that
 * are packed at once, TILE_N columns of them: they wait in the second-level cache (640 KB), or the third.  PASS: rows
 * of the left matrix that stay in the second-level cache (100 KB), with their part of the result, while panels go by.
 * ALONE: rows of such a pass where they are few: each panel is packed when it is used, and does not leave the
 * first-level cache. */
enum { DEPTH = 256, DEEP = 2 * DEPTH, PASS = 98, ALONE = 266, TILE_M = 1024, TILE_N = 320 };
/* The copy of left rows, or of left columns. */
enum { LEFT_LD = DEPTH, LEFT_LD_T = 272, LEFT = DEPTH * LEFT_LD_T };
/* Rows that are packed together.  They are neighbours in a panel, whose cache lines are 16 KB apart and would otherwise
 * be written one row at a time. */
enum { RUN = 8 };
/* Bytes further on in a row, which are fetched where nothing is known of the rows after it. */
enum { FURTHER = 256 };

/* Numbers of a row of a quantised weight that are widened at once: a multiple of every panel's columns. */
enum { WIDE = 64 };

/* The most tiles of rows for which a right matrix of floats is read where it lies. */
enum { IN_PLACE = 3 };

/* The fewest multiplications that are worth a thread of their own; and of a product that is cut as often as there are
 * threads, no oftener. */
#define SMALL_TILE 6e4
#define SMALL_PRODUCT 4e6
/* What an element of the right matrix costs until it is packed, and one of the left that is gathered, in
 * multiplications. */
enum { PACKING = 8, GATHERING = 4 };

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
		       int depth)
{
	const size_t apart = ld * element_size(dtype);
	const void *rows[MAX_TILE_COLS];
	int i;

	for (i = 0; i < k->nr; i++)
		rows[i] = i < n ? (const char *)x + i * apart : x;
	k->pack_columns(panel, rows, dtype, n, depth, apart);
}

void pack_transposed(const struct kernels *k, float *panels, const float *x, size_t ld, int n, int depth)
{
	int j;

	for (j = 0; j < n; j += k->nr, panels += (size_t)k->nr * depth)
		pack_panel(k, panels, x + j * ld, DTYPE_F32, ld, smaller(n - j, k->nr), depth);
}

void pack_matrix(const struct kernels *k, float *panels, const float *x, size_t ld, int n, int depth)
{
	const struct right b = { .data = x, .ld = ld, .dtype = DTYPE_F32 };

	pack_right(k, &b, panels, 0, n, 0, depth);
}

struct right right_of(const struct weight *w, size_t ld)
{
	return (struct right){ .data = w->data, .dtype = w->dtype, .weight = is_quantised(w->dtype) ? w : NULL,
			       .panel = w->panel, .ld = ld };
}

/* Number j.. of row k; below 0: it is zeros. */
static ptrdiff_t right_row(const struct right *b, int k, int j)
{
	const ptrdiff_t at = b->row ? b->row(b, k) : (ptrdiff_t)(b->first + k * b->ld);

	return at < 0 ? at : at + j;
}

/* A quantised weight is widened WIDE numbers of some rows at a time, which then are packed as floats: a copy in the
 * first cache, that the loops which pack floats do not know of. */
static void pack_quantised_panel(const struct kernels *kern, const struct right *b, float *panel, int j, int n, int k,
				 int depth)
{
	float wide[MAX_TILE_COLS][WIDE];
	const void *rows[MAX_TILE_COLS];
	int at, i;

	for (i = 0; i < kern->nr; i++)
		rows[i] = wide[i < n ? i : 0];
	for (at = 0; at < depth; at += WIDE) {
		const int count = smaller(WIDE, depth - at);

		for (i = 0; i < n; i++)
			widen_weight(kern, wide[i], b->weight, b->first + (j + i) * b->ld + k + at, count);
		kern->pack_columns(panel + (size_t)at * kern->nr, rows, DTYPE_F32, n, count, 0);
	}
}

static void pack_quantised_rows(const struct kernels *kern, const struct right *b, float *panels, size_t stride,
				int j, int n, int k, int count)
{
	float wide[RUN][WIDE];
	const void *rows[RUN];
	int at, r;

	for (at = 0; at < n; at += WIDE) {
		const int some = smaller(WIDE, n - at);

		for (r = 0; r < count; r++) {
			widen_weight(kern, wide[r], b->weight, right_row(b, k + r, j + at), some);
			rows[r] = wide[r];
		}
		kern->pack_rows(panels + at / kern->nr * stride, stride, rows, DTYPE_F32, count, some, 0);
	}
}

/* Row `row` of the panel that has column col, and those below it, [panel] each. */
static const char *panel_at(const struct right *b, int row, int col)
{
	return (const char *)b->data + (col / b->panel * b->ld + row) * b->panel * element_size(b->dtype);
}

static void pack_panels(const struct kernels *kern, const struct right *b, float *panels, int j, int n, int k,
			int depth)
{
	const size_t size = element_size(b->dtype);
	int i;

	for (i = 0; i < n; i += kern->nr) {
		const int cols = smaller(n - i, kern->nr);
		float *panel = panels + (size_t)i * depth;

		if (b->weight)
			pack_quantised_panel(kern, b, panel, j + i, cols, k, depth);
		else if (b->panel)
			kern->widen(panel, panel_at(b, k, j + i), b->dtype, (size_t)depth * b->panel);
		else
			pack_panel(kern, panel, (const char *)b->data + (b->first + (j + i) * b->ld + k) * size,
				   b->dtype, b->ld, cols, depth);
	}
}

/* Columns of the right matrix are rows of the weight's panels. */
static void turn_panels(const struct kernels *kern, const struct right *b, float *panels, int j, int n, int k,
			int depth)
{
	const int nr = kern->nr;
	int i, at;

	for (i = 0; i < n; i += nr)
		for (at = 0; at < depth; at += b->panel, panels += b->panel * nr)
			pack_panel(kern, panels, panel_at(b, j + i, k + at), b->dtype, b->panel, smaller(n - i, nr),
				   b->panel);
}

void pack_right(const struct kernels *kern, const struct right *b, float *panels, int j, int n, int k, int depth)
{
	const size_t size = element_size(b->dtype), stride = (size_t)kern->nr * depth;
	const void *rows[RUN];
	int i, r;

	if (b->transposed) {
		pack_panels(kern, b, panels, j, n, k, depth);
		return;
	}
	if (b->panel) {
		turn_panels(kern, b, panels, j, n, k, depth);
		return;
	}
	for (i = 0; i < depth; i += RUN, panels += RUN * kern->nr) {
		const int count = smaller(RUN, depth - i);

		if (b->weight) {
			pack_quantised_rows(kern, b, panels, stride, j, n, k + i, count);
			continue;
		}
		for (r = 0; r < count; r++) {
			const ptrdiff_t at = right_row(b, k + i + r, j);
			rows[r] = at < 0 ? NULL : (const char *)b->data + at * size;
		}
		kern->pack_rows(panels, stride, rows, b->dtype, count, n, b->row ? FURTHER : RUN * b->ld * size);
	}
}

/* A tile: its product, its cut, and the scratch of the thread that has it. */
struct job {
	const struct kernels *k;
	const struct product *p;
	int j, n;                       /* columns */
	float *panels;                  /* of some rows of b: [range][panel]; NULL: b is read where it lies */
	float *left;                    /* [ALONE][LEFT_LD], or [DEPTH][LEFT_LD_T] */
};

static const float *range_panels(const struct job *t, int range)
{
	return t->panels + (size_t)range / DEPTH * panel_floats(t->k, t->n, DEPTH);
}

/* Rows of weights are read to their ends before the next ones. */
static void pack_ranges(const struct job *t, int k, int deep)
{
	const int cols = t->p->b.transposed ? t->k->nr : t->n;
	int j, at;

	for (j = 0; j < t->n; j += cols)
		for (at = 0; at < deep; at += DEPTH) {
			const int depth = smaller(DEPTH, deep - at);

			pack_right(t->k, &t->p->b, (float *)range_panels(t, at) + (size_t)j * depth, t->j + j,
				   smaller(cols, t->n - j), k + at, depth);
		}
}

/* Few columns use neither a copy of left rows nor a part of the result again. */
static bool is_thin(const struct job *t) { return t->n <= 2 * t->k->nr; }

/* Whether left rows are copied side by side: where those of a tile lie a multiple of 2 KB apart, and so in the same few
 * sets of the caches. */
static bool left_is_copied(const struct job *t)
{
	const struct left *a = &t->p->a;

	return (a->col == 1 ? a->row : a->col) % 512 == 0 && !is_thin(t);
}

static void copy_rows(float *dst, size_t dst_ld, const float *src, size_t ld, int rows, int n)
{
	int i, j;

	for (i = 0; i < rows; i++) {
		for (j = 0; j < n; j += 16)
			__builtin_prefetch(src + (i + 2) * ld + j);
		memcpy(dst + i * dst_ld, src + i * ld, n * sizeof(*dst));
	}
}

/* Gives the block rows i.. and columns k.. of the left matrix. */
static void lay_left(const struct job *t, struct block *b, int i, int k)
{
	const struct left *a = &t->p->a;
	const float *at = a->data + i * a->row + k * a->col;

	b->a = t->left;
	b->row = LEFT_LD;
	b->col = 1;
	if (a->gather) {
		a->gather(a, t->left, LEFT_LD, i, b->m, k, b->k);
	} else if (!left_is_copied(t)) {
		b->a = at;
		b->row = a->row;
		b->col = a->col;
	} else if (a->col == 1) {
		copy_rows(t->left, LEFT_LD, at, a->row, b->m, b->k);
	} else {
		b->row = 1;
		b->col = LEFT_LD_T;
		copy_rows(t->left, LEFT_LD_T, at, a->col, b->k, b->m);
	}
}

/* Columns j.. of rows k.. of the right matrix, a panel, unless it is made of what lies elsewhere. */
static struct soon right_soon(const struct job *t, int j, int k)
{
	const struct right *b = &t->p->b;
	const int cols = smaller(t->k->nr, t->n - j), depth = smaller(DEPTH, t->p->k - k), col = t->j + j;
	const size_t size = element_size(b->dtype);

	if (depth <= 0)
		return (struct soon){ 0 };
	if (b->panel && b->transposed)
		return (struct soon){ panel_at(b, k, col), 0, 1, depth * b->panel * (int)size };
	if (b->panel)
		return (struct soon){ panel_at(b, col, k), b->panel * b->ld * size, depth / b->panel,
				      cols * b->panel * (int)size };
	return (struct soon){ (const char *)b->data + (b->first + col * b->ld + k) * size, b->ld * size, cols,
			      depth * (int)size };
}

/* Left rows i.., from column k on, unless they are gathered or lie in columns. */
static struct soon left_soon(const struct job *t, int i, int rows, int k)
{
	const struct left *a = &t->p->a;

	if (a->gather || a->col != 1 || is_thin(t))
		return (struct soon){ 0 };
	return (struct soon){ (const char *)(a->data + i * a->row + k), a->row * sizeof(float), rows,
			      smaller(DEPTH, t->p->k - k) * (int)sizeof(float) };
}

/* Each panel is packed just before it is used, in the same place, from what was fetched while the one before it was. */
static void pack_and_multiply(const struct job *t, const struct block *all, int k)
{
	int j, next;

	for (j = 0; j < t->n; j = next) {
		struct block b = *all;

		next = smaller(j + t->k->nr, t->n);
		b.n = next - j;
		b.panels = t->panels;
		b.c += j;
		b.bias = b.bias ? b.bias + j : NULL;
		b.soon = next < t->n ? right_soon(t, next, k) : right_soon(t, 0, k + DEPTH);
		pack_right(t->k, &t->p->b, t->panels, t->j + j, b.n, k, b.k);
		t->k->block(&b);
	}
}

/* Some rows of a tile by the rows k..k+deep of b; `after` rows follow.  packs: panels are packed while it goes. */
struct pass { int i, m, after, k, deep; bool packs; };

/* c stays in the second-level cache. */
static void multiply_pass(const struct job *t, const struct pass *s)
{
	const struct product *p = t->p;
	int at;

	for (at = 0; at < s->deep; at += DEPTH) {
		const int k = s->k + at;
		const bool first = k == 0, last = at + DEPTH >= s->deep;
		struct block b = { .m = s->m, .n = t->n, .k = smaller(DEPTH, s->deep - at),
				   .c = p->c + s->i * p->ldc + t->j, .ldc = p->ldc,
				   .alpha = p->alpha, .beta = first ? p->beta : 1,
				   .bias = first && p->bias ? p->bias + t->j : NULL };

		if (t->panels)
			b.panels = range_panels(t, at);
		else
			b.b = (const float *)p->b.data + p->b.first + k * p->b.ld + t->j;
		b.ldb = p->b.ld;
		lay_left(t, &b, s->i, k);
		if (s->packs) {
			pack_and_multiply(t, &b, k);
			continue;
		}
		b.soon = last ? left_soon(t, s->i + s->m, s->after, s->k) : left_soon(t, s->i, s->m, k + DEPTH);
		t->k->block(&b);
	}
}

/* Whether few rows use a column of floats: packing would take longer than they do. */
static bool in_place(const struct kernels *k, const struct product *p, int m)
{
	return m <= IN_PLACE * k->mr && p->b.dtype == DTYPE_F32 && !p->b.transposed && !p->b.row && !p->b.panel;
}

struct tile { int i, m, j, n; bool in_place; };

/* In how few passes its rows go by if each packs every panel anew, or 0: two where that is no more than widening. */
static int passes_that_pack(const struct product *p, const struct tile *t)
{
	const int passes = (t->m + ALONE - 1) / ALONE;

	if (p->b.weight || !(p->b.panel || p->b.transposed))
		return 0;
	return passes <= (p->b.panel && p->b.transposed ? 2 : 1) ? passes : 0;
}

static void multiply_columns(struct device *d, const struct product *p, const struct tile *tile, int thread)
{
	const size_t panels = panel_floats(d->k, tile->n, smaller(DEEP, p->k));
	const size_t narrow = p->more ? panel_floats(d->k, tile->n, p->more->k) : 0;
	char *at = thread_scratch(d, thread, floats(panels) + floats(LEFT) + floats(narrow));
	float *packed = carve(&at, panels);
	const struct job t = { d->k, p, tile->j, tile->n, tile->in_place ? NULL : packed, carve(&at, LEFT) };
	const struct job more = { d->k, p->more, tile->j, tile->n, carve(&at, narrow), t.left };
	const int few = passes_that_pack(p, tile), mr = d->k->mr, most = is_thin(&t) ? DEPTH : DEEP;
	const int pass = few ? smaller(ALONE, round_up((tile->m + few - 1) / few, mr)) : PASS / mr * mr;
	int i, k;

	if (p->more)
		pack_ranges(&more, 0, p->more->k);
	for (k = 0; k < p->k; k += most) {
		const int deep = smaller(most, p->k - k);
		const bool last = k + deep == p->k;

		if (!tile->in_place && !few)
			pack_ranges(&t, k, deep);
		for (i = 0; i < tile->m; i += pass) {
			const int rows = smaller(pass, tile->m - i), after = smaller(pass, tile->m - i - rows);

			multiply_pass(&t, &(struct pass){ tile->i + i, rows, after, k, deep, few > 0 });
			if (last && p->more)
				multiply_pass(&more, &(struct pass){ tile->i + i, rows, 0, 0, p->more->k });
		}
	}
}

static void multiply_tile(struct device *d, const void *arg, int task, int thread)
{
	const struct tiling *tiling = arg;
	const struct product *p = tiling->p;
	const struct cut *cut = &tiling->cut;
	const int i = task / cut->across * cut->rows, j = task % cut->across * cut->cols;
	const int m = smaller(cut->rows, p->m - i), n = smaller(cut->cols, p->n - j);
	/* Beyond the last whole panel b may end. */
	const int whole = in_place(d->k, p, m) ? n / d->k->nr * d->k->nr : 0;

	if (whole)
		multiply_columns(d, p, &(struct tile){ i, m, j, whole, true }, thread);
	if (whole < n)
		multiply_columns(d, p, &(struct tile){ i, m, j + whole, n - whole, false }, thread);
}

size_t cpu_product_scratch(int rank, size_t turned, int threads)
{
	return threads * (floats((size_t)TILE_N * DEEP) + floats(LEFT) + floats((size_t)TILE_N * rank)) +
	       floats(turned);
}

/* rows, cols: of what a tile's are a multiple */
static struct cut cut_into(const struct product *p, int down, int across, int rows, int cols)
{
	struct cut c = { .rows = round_up((p->m + down - 1) / down, rows),
			 .cols = round_up((p->n + across - 1) / across, cols) };

	/* Rounded up, fewer may do. */
	c.down = (p->m + c.rows - 1) / c.rows;
	c.across = (p->n + c.cols - 1) / c.cols;
	return c;
}

/* Multiplications of a tile, with what packing costs. */
static double cost_of(const struct product *p, const struct cut *c)
{
	return (double)c->rows * (c->cols + (p->a.gather ? GATHERING : 0)) + (double)PACKING * c->cols;
}

/* One tile a thread, where the product is worth so many: whichever way is the cheapest.  Tiles have any number of rows,
 * and half a panel's columns, unless a weight lies in panels.  No rows: a tile would have too many columns. */
static struct cut cut_small(const struct device *d, const struct product *p, double work)
{
	const int tiles = work >= SMALL_TILE * d->threads ? d->threads : (int)(work / SMALL_TILE);
	const int cols = p->b.panel ? p->b.panel : d->k->nr / 2;
	struct cut best = { 0 };

	for (int down = tiles > 1 ? tiles : 1; down > 0; down--) {
		const struct cut c = cut_into(p, down, tiles > down ? tiles / down : 1, 1, cols);

		if (c.cols <= TILE_N && (!best.rows || cost_of(p, &c) < cost_of(p, &best)))
			best = c;
	}
	return best;
}

/* Cuts across the longer side until every thread has two tiles, all tiles have one size, and their number is a multiple
 * of the threads'. */
static struct cut cut_large(const struct device *d, const struct product *p)
{
	int down = (p->m + TILE_M - 1) / TILE_M, across = (p->n + TILE_N - 1) / TILE_N;

	for (;;) {
		const struct cut c = cut_into(p, down, across, d->k->mr, d->k->nr);
		const int tiles = c.down * c.across;

		if (tiles >= 8 * d->threads || (tiles >= 2 * d->threads && tiles % d->threads == 0))
			return c;
		if (c.rows <= d->k->mr && c.cols <= d->k->nr)
			return c;
		if (c.rows > d->k->mr && (c.rows >= 3 * c.cols || c.cols <= d->k->nr))
			down++;
		else
			across++;
	}
}

static struct cut cut_tiles(const struct device *d, const struct product *p)
{
	const double work = (double)p->m * p->n * p->k;
	const struct cut small = work > SMALL_PRODUCT * d->threads ? (struct cut){ 0 } : cut_small(d, p, work);

	return small.rows ? small : cut_large(d, p);
}

void multiply(struct device *d, const struct product *p)
{
	const struct tiling tiling = { p, cut_tiles(d, p) };

	run_tasks(d, tiling.cut.across * tiling.cut.down, (double)p->m * p->n * p->k, multiply_tile, &tiling);
}

/* transposed: by is [n,rank] */
static struct product narrow_product(const struct narrow *more, bool transposed, float *c, int ldc, int rows, int n)
{
	return (struct product){
		.m = rows, .n = n, .k = more->rank, .alpha = more->scale, .beta = 1, .c = c, .ldc = ldc,
		.a = { .data = more->z, .row = more->rank, .col = 1 },
		.b = { .data = more->by, .dtype = DTYPE_F32, .ld = transposed ? more->rank : n,
		       .transposed = transposed },
	};
}

static void make_z(struct device *d, const struct narrow *more, struct values x, const struct weight *w, int rows)
{
	if (more && more->from)
		cpu_gemm(d, 0, 1, rows, more->rank, w->in, more->first, x, w->in, f32(more->from), w->in, 0,
			 f32(more->z), more->rank);
}

/* y: of rows of ldy floats */
static void run_layer(struct device *d, float *y, int ldy, struct values x, const struct stacked_layer *l, int rows)
{
	const struct weight *w = l->w;
	const struct product after = l->more ? narrow_product(l->more, true, y, ldy, rows, w->out) :
		(struct product){ 0 };
	struct product p = {
		.m = rows, .n = w->out, .k = w->in, .alpha = 1, .bias = l->bias, .c = y, .ldc = ldy,
		.a = { .data = floats_at(x), .row = w->in, .col = 1 },
		.b = right_of(w, w->in),
		.more = l->more ? &after : NULL,
	};

	p.b.transposed = true;
	make_z(d, l->more, x, w, rows);
	multiply(d, &p);
}

void cpu_linear(struct device *d, struct values y, struct values x, const struct weight *w, const float *bias, int rows,
		const struct narrow *more)
{
	run_layer(d, floats_at(y), w->out, x, &(struct stacked_layer){ w, bias, more }, rows);
}

void cpu_linear_geglu(struct device *d, struct values g, struct values y, struct values x, const struct weight *w,
		      const float *bias, int rows, const struct narrow *more)
{
	cpu_linear(d, y, x, w, bias, rows, more);
	cpu_geglu(d, g, y, rows, w->out / 2);
}

void cpu_linears(struct device *d, struct values y, struct values x, const struct stacked *s, int rows)
{
	float *at = floats_at(y);

	for (int i = 0; i < s->count; at += s->of[i++].w->out)
		run_layer(d, at, stacked_out(s), x, &s->of[i], rows);
}

static void make_dz(struct device *d, const struct narrow *more, const float *dy, int ldy, const struct weight *w,
		    int rows)
{
	if (more && more->from)
		cpu_gemm(d, 0, 0, rows, more->rank, w->out, more->first, f32(dy), ldy, f32(more->from), more->rank, 0,
			 f32(more->z), more->rank);
}

static void run_layer_dx(struct device *d, float *dx, const float *dy, int ldy, const struct stacked_layer *l, int rows,
			 int add)
{
	const struct weight *w = l->w;
	const struct product after = l->more ? narrow_product(l->more, false, dx, w->in, rows, w->in) :
		(struct product){ 0 };
	const struct product p = {
		.m = rows, .n = w->in, .k = w->out, .alpha = 1, .beta = add, .c = dx, .ldc = w->in,
		.a = { .data = dy, .row = ldy, .col = 1 },
		.b = right_of(w, w->in),
		.more = l->more ? &after : NULL,
	};

	make_dz(d, l->more, dy, ldy, w, rows);
	if (dx)
		multiply(d, &p);
}

void cpu_linear_dx(struct device *d, struct values dx, struct values dy, const struct weight *w, int rows, int add,
		   const struct narrow *more)
{
	run_layer_dx(d, floats_at(dx), floats_at(dy), w->out, &(struct stacked_layer){ w, NULL, more }, rows, add);
}

void cpu_linear_dx_geglu(struct device *d, struct values dh, struct values dx, struct values dy, struct values h,
			 const struct weight *w, int rows, const struct narrow *more)
{
	cpu_linear_dx(d, dx, dy, w, rows, 0, more);
	cpu_geglu_back(d, dh, dx, h, rows, w->in, 0);
}

void cpu_linears_dx(struct device *d, struct values dx, struct values dy, const struct stacked *s, int rows, int add)
{
	const int ldy = stacked_out(s);
	const float *at = floats_at(dy) + ldy;

	for (int i = s->count - 1; i >= 0; i--) {
		at -= s->of[i].w->out;
		run_layer_dx(d, floats_at(dx), at, ldy, &s->of[i], rows, i == s->count - 1 ? add : 1);
	}
}

void cpu_gemm(struct device *d, int ta, int tb, int m, int n, int k, float alpha, struct values av, int lda,
	      struct values bv, int ldb, float beta, struct values cv, int ldc)
{
	const float *a = floats_at(av);
	const float *b = floats_at(bv);
	float *c = floats_at(cv);
	const struct product p = {
		.m = m, .n = n, .k = k, .alpha = alpha, .beta = beta, .c = c, .ldc = ldc,
		.a = { .data = a, .row = ta ? 1 : lda, .col = ta ? lda : 1 },
		.b = { .data = b, .dtype = DTYPE_F32, .ld = ldb, .transposed = tb },
	};

	multiply(d, &p);
}
