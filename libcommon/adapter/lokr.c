/* LoKr: dW = scale w1 (x) w2, Kronecker's product (arXiv 2309.14859).  w1 [p,q] and w2 [m,n,kh,kw] are whole, or
 * products of two; w2 may have a middle factor.  Where both are whole the scale is 1 whatever alpha says. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../base/product.h"
#include "split.h"
#include "tucker.h"

enum { W1, W1_A, W1_B, W2, W2_A, W2_B, T2 };

enum { FACTOR, TUCKER, DECOMPOSE_BOTH, FULL, UNBALANCED };      /* slots of the settings */

/* out = p m, in = q n */
struct sizes { int p, q, m, n; };

/* ---- shapes ---- */

static void put_one(struct module_form *f, const struct sizes *s, int r, bool whole)
{
	if (whole) {
		f->part[W1] = part_whole(s->p, 1, 1, s->q, false);
		f->part[W1].start = START_UNIFORM;
		return;
	}
	f->part[W1_A] = part_flat(s->p, 1, 1, r);
	f->part[W1_B] = part_flat(r, 1, 1, s->q);
	f->part[W1_A].start = f->part[W1_B].start = START_UNIFORM;
}

/* w2 begins at 0, or w2_b does */
static void put_two(struct module_form *f, const struct sizes *s, const struct weight *w, int r, bool whole,
		    bool tucker, bool four)
{
	if (whole) {
		f->part[W2] = part_whole(s->m, w->kh, w->kw, s->n, four);
		return;
	}
	f->part[W2_A] = tucker ? part_flat(r, 1, 1, s->m) : part_flat(s->m, 1, 1, r);
	f->part[W2_B] = tucker ? part_flat(r, 1, 1, s->n) : part_flat(r, w->kh, w->kw, s->n);
	f->part[W2_A].start = START_UNIFORM;
	if (!tucker)
		return;
	f->part[T2] = part_whole(r, w->kh, w->kw, r, true);
	f->part[T2].start = START_UNIFORM;
}

/* LoRA+ takes w1, as sd-scripts does. */
static void hasten(struct module_form *f)
{
	for (int i = W1; i <= W1_B; i++)
		f->part[i].hastened = true;
}

static int larger(int a, int b)
{
	return a > b ? a : b;
}

static void sizes_now(struct sizes *s, const struct weight *w, int factor, bool unbalanced)
{
	const struct split out = split_width(w->out, factor), in = split_width(w->in, factor);

	*s = (struct sizes){ .p = unbalanced ? out.large : out.small,
			     .m = unbalanced ? out.small : out.large,
			     .q = in.small,
			     .n = in.large };
}

static void form(struct module_form *f, const struct weight *w, const struct kind_wish *wish)
{
	const double *set = wish->args->value;
	struct sizes s;
	bool one, two;

	sizes_now(&s, w, (int)set[FACTOR], set[UNBALANCED]);
	two = set[FULL] || 2L * wish->rank >= larger(s.m, s.n);
	one = set[FULL] || !set[DECOMPOSE_BOTH] || 2L * wish->rank >= larger(s.p, s.q);
	*f = (struct module_form){ .rank = one && two ? 0 : wish->rank,
				   .alpha = one && two ? wish->rank : wish->alpha };
	put_one(f, &s, wish->rank, one);
	put_two(f, &s, w, wish->rank, two, set[TUCKER] && w->kh * w->kw > 1, wish->convolution && wish->lycoris);
	hasten(f);
}

/* Sides of a matrix, whole or a product of [rows,r] and [r,columns]; turned: [r,rows].  false: not to be */
static bool sides(const struct safetensor *whole, const struct safetensor *a, const struct safetensor *b, bool turned,
		  int64_t taps, int *rows, int *columns)
{
	const struct safetensor *first = whole ? whole : a, *second = whole ? whole : b;
	int64_t r, c;

	if (first->dims < 2 || second->dims < 2)
		return false;
	r = first->shape[turned && !whole ? 1 : 0];
	c = second->shape[1];
	if (!whole && !turned && c % taps)
		return false;
	c /= whole || turned ? 1 : taps;
	if (r < 1 || c < 1 || r > INT32_MAX || c > INT32_MAX)
		return false;
	*rows = (int)r;
	*columns = (int)c;
	return true;
}

static bool read_sizes(struct sizes *s, const struct safetensor *const part[BRANCH_PARTS], int64_t taps)
{
	return sides(part[W1], part[W1_A], part[W1_B], false, 1, &s->p, &s->q) &&
	       sides(part[W2], part[W2_A], part[W2_B], part[T2] != NULL, taps, &s->m, &s->n);
}

static bool read_form(struct module_form *f, const struct weight *w, const struct safetensor *const part[BRANCH_PARTS])
{
	const struct safetensor *b = part[W1_B] ? part[W1_B] : part[W2_B];
	struct sizes s;
	int r = 0;

	if (!read_sizes(&s, part, (int64_t)w->kh * w->kw) || (int64_t)s.p * s.m != w->out ||
	    (int64_t)s.q * s.n != w->in)
		return false;
	if (b) {
		if (b->shape[0] < 1 || b->shape[0] > KIND_MOST_RANK)
			return false;
		r = (int)b->shape[0];
	}
	*f = (struct module_form){ .rank = r };
	put_one(f, &s, r, part[W1] != NULL);
	put_two(f, &s, w, r, part[W2] != NULL, part[T2] != NULL, part[W2] && part[W2]->dims > 2);
	hasten(f);
	return true;
}

/* A matrix whole and in factors at once has a part too many, which the form shows. */
static int missing(const struct safetensor *const part[BRANCH_PARTS])
{
	if (!part[W1] && !part[W1_A] && !part[W1_B])
		return W1;
	if (!part[W1] && (!part[W1_A] || !part[W1_B]))
		return part[W1_A] ? W1_B : W1_A;
	if (!part[W2] && !part[W2_A] && !part[W2_B])
		return W2;
	if (!part[W2] && (!part[W2_A] || !part[W2_B]))
		return part[W2_A] ? W2_B : W2_A;
	return -1;
}

/* A kernel that is flattened counts as inputs. */
static bool guess(struct weight *w, const struct safetensor *const part[BRANCH_PARTS])
{
	struct sizes s;

	return read_sizes(&s, part, 1) &&
	       weight_of_shape(w, (int64_t)s.p * s.m, (int64_t)s.q * s.n, part[T2] ? part[T2] : part[W2]);
}

static double scale(const struct module_form *f, double alpha)
{
	return f->rank ? alpha / f->rank : 1;
}

static void shape(const struct module_form *f, char *text, size_t n)
{
	snprintf(text, n, "whole");
}

/* ---- forward and backward ---- */

/* What stands in the place of w1 and w2: themselves, or products in scratch. */
struct now { float *one, *two, *right; };       /* right: w2_b, or its product with the middle factor */

static bool is_whole(const struct branch *b, int part)
{
	return b->part[part].n != 0;
}

static struct kronecker_shape shape_of(const struct branch *b, const struct weight *w)
{
	const int p = is_whole(b, W1) ? b->part[W1].n : b->part[W1_A].n,
		  q = is_whole(b, W1) ? b->part[W1].c : b->part[W1_B].c;

	return (struct kronecker_shape){ .p = p, .q = q, .m = w->out / p, .n = w->in / q, .taps = w->kh * w->kw };
}

static struct now begin(struct tape *t, const struct branch *b, const struct kronecker_shape *s)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const bool tucker = is_whole(b, T2);
	const int r = b->rank, fan = s->taps * s->n;
	struct now k = { .one = b->part[W1].data, .two = b->part[W2].data };

	if (!is_whole(b, W1)) {
		k.one = tape_scratch(t, (size_t)s->p * s->q);
		be->gemm(d, 0, 0, s->p, s->q, r, 1, f32(b->part[W1_A].data), r, f32(b->part[W1_B].data), s->q, 0,
			 f32(k.one), s->q);
	}
	if (is_whole(b, W2))
		return k;
	k.right = tucker ? tucker_now(t, b, T2, W2_B) : b->part[W2_B].data;
	k.two = tape_scratch(t, (size_t)s->m * fan);
	be->gemm(d, tucker, 0, s->m, fan, r, 1, f32(b->part[W2_A].data), tucker ? s->m : r, f32(k.right), fan, 0,
		 f32(k.two), fan);
	return k;
}

static void end(struct tape *t, const struct branch *b, struct now *k)
{
	if (!is_whole(b, W2))
		tape_scratch_give(t, k->two);
	if (is_whole(b, T2))
		tape_scratch_give(t, k->right);
	if (!is_whole(b, W1))
		tape_scratch_give(t, k->one);
}

static void whole(struct tape *t, float *dw, const struct branch *b, const struct weight *w)
{
	const struct kronecker_shape s = shape_of(b, w);
	struct now k = begin(t, b, &s);

	tape_backend(t)->kronecker(tape_device(t), dw, 1, k.one, k.two, &s);
	end(t, b, &k);
}

/* backward of w1 = w1_a w1_b */
static void one_back(struct tape *t, const float *done, const struct branch *b, const struct part_grads *g,
		     const struct kronecker_shape *s)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const int r = b->rank;

	if (g->at[W1_A])
		be->gemm(d, 0, 1, s->p, r, s->q, 1, f32(done), s->q, f32(b->part[W1_B].data), s->q, g->add[W1_A],
			 f32(g->at[W1_A]), r);
	if (g->at[W1_B])
		be->gemm(d, 1, 0, r, s->q, s->p, 1, f32(b->part[W1_A].data), r, f32(done), s->q, g->add[W1_B],
			 f32(g->at[W1_B]), s->q);
}

/* backward of w2 = w2_a w2_b, or w2_a^T T(t2, w2_b) */
static void two_back(struct tape *t, const float *dtwo, const float *right, const struct branch *b,
		     const struct part_grads *g, const struct kronecker_shape *s)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const bool tucker = is_whole(b, T2);
	const int r = b->rank, fan = s->taps * s->n, m = s->m;
	float *dright = tucker ? tape_scratch(t, (size_t)r * fan) : g->at[W2_B];

	if (g->at[W2_A] && tucker)
		be->gemm(d, 0, 1, r, m, fan, 1, f32(right), fan, f32(dtwo), fan, g->add[W2_A], f32(g->at[W2_A]), m);
	else if (g->at[W2_A])
		be->gemm(d, 0, 1, m, r, fan, 1, f32(dtwo), fan, f32(right), fan, g->add[W2_A], f32(g->at[W2_A]), r);
	if (dright)
		be->gemm(d, !tucker, 0, r, fan, m, 1, f32(b->part[W2_A].data), tucker ? m : r, f32(dtwo), fan,
			 tucker ? 0 : g->add[W2_B], f32(dright), fan);
	if (!tucker)
		return;
	tucker_back(t, dright, b, g, T2, W2_B);
	tape_scratch_give(t, dright);
}

static void whole_back(struct tape *t, float *ddw, const struct branch *b, const struct part_grads *g,
		       const struct weight *w)
{
	const struct kronecker_shape s = shape_of(b, w);
	const bool one = is_whole(b, W1), two = is_whole(b, W2);
	struct now k = begin(t, b, &s);
	float *done = one ? g->at[W1] : tape_scratch(t, (size_t)s.p * s.q);
	float *dtwo = two ? g->at[W2] : tape_scratch(t, (size_t)s.m * s.taps * s.n);
	const int add[2] = { one ? g->add[W1] : 0, two ? g->add[W2] : 0 };

	tape_backend(t)->kronecker_back(tape_device(t), done, dtwo, 1, ddw, k.one, k.two, &s, add);
	if (!two) {
		two_back(t, dtwo, k.right, b, g, &s);
		tape_scratch_give(t, dtwo);
	}
	if (!one) {
		one_back(t, done, b, g, &s);
		tape_scratch_give(t, done);
	}
	end(t, b, &k);
}

/* ---- on the host ---- */

static void widen(double *out, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = x[i];
}

static struct sizes sizes_of(const struct delta *d)
{
	const struct part_form *p = d->form->part;
	const int rows = p[W1].n ? p[W1].n : p[W1_A].n, columns = p[W1].n ? p[W1].c : p[W1_B].c;

	return (struct sizes){ rows, columns, d->w->out / rows, d->w->in / columns };
}

/* w1 [p][q], then w2 [m][n taps], as products */
static void *both_factors(const struct delta *d)
{
	const struct sizes s = sizes_of(d);
	const size_t r = d->form->rank, taps = (size_t)d->w->kh * d->w->kw, columns = s.n * taps,
		     one = (size_t)s.p * s.q, two = s.m * columns;
	const struct matrix one_a = { d->part[W1_A], NULL, r, 1 }, one_b = { d->part[W1_B], NULL, s.q, 1 },
			    two_a = { d->part[W2_A], NULL, d->part[T2] ? 1 : r, d->part[T2] ? s.m : 1 };
	double *own = xcalloc(one + two, sizeof(*own)), *core = NULL;
	struct matrix two_b = { d->part[W2_B], NULL, columns, 1 };

	if (d->part[W1])
		widen(own, d->part[W1], one);
	else
		product_add(own, s.q, 1, &one_a, &one_b, s.p, s.q, r);
	if (d->part[T2]) {
		core = xmalloc(r * columns * sizeof(*core));
		tucker_rows(core, d->part[T2], d->part[W2_B], (int)r, s.n, (int)taps);
		two_b.floats = NULL;
		two_b.doubles = core;
	}
	if (d->part[W2])
		widen(own + one, d->part[W2], two);
	else
		product_add(own + one, columns, 1, &two_a, &two_b, s.m, columns, r);
	free(core);
	return own;
}

static void add_delta(const struct delta *d, const struct delta_tile *t, const struct base_rows *base)
{
	const struct sizes s = sizes_of(d);
	const size_t columns = (size_t)s.n * d->w->kh * d->w->kw, end = t->column + t->columns;

	for (size_t o = t->row; o < t->row + t->rows; o++) {
		const double *one = (const double *)d->own + o / s.m * s.q,
			     *two = (const double *)d->own + (size_t)s.p * s.q + o % s.m * columns;
		double *sum = t->sum + (o - t->row) * t->step;
		size_t to;

		for (size_t j = t->column; j < end; j = to) {
			const size_t i = j / columns;
			const double by = d->scale * one[i];

			to = (i + 1) * columns < end ? (i + 1) * columns : end;
			for (size_t k = j; k < to; k++)
				*sum++ += by * two[k - i * columns];
		}
	}
}

static double length(const double *x, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += x[i] * x[i];
	return sqrt(sum);
}

/* Kronecker's product is as long as its factors' lengths multiplied. */
static double norm_of_factors(const struct delta *d)
{
	const struct sizes s = sizes_of(d);
	const size_t one = (size_t)s.p * s.q;

	return fabs(d->scale) * length(d->own, one) *
	       length((const double *)d->own + one, (size_t)s.m * s.n * d->w->kh * d->w->kw);
}

static struct delta_kronecker kronecker_of(const struct delta *d)
{
	const struct sizes s = sizes_of(d);

	return (struct delta_kronecker){ d->own, (const double *)d->own + (size_t)s.p * s.q, { s.p, s.m },
					 { s.q, (size_t)s.n * d->w->kh * d->w->kw } };
}

/* ---- as a product of two matrices ---- */

/* One of the two factors as left right: what the file holds where that is thinner than the factor itself, else the
 * factor and the identity. */
struct halves { size_t rows, columns, rank; double *left, *right; };

static bool is_thin(const struct delta *d, int a, size_t rows, size_t columns)
{
	return d->part[a] && (size_t)d->form->rank < rows && (size_t)d->form->rank < columns;
}

static size_t thinnest(const struct delta *d, int a, size_t rows, size_t columns)
{
	return is_thin(d, a, rows, columns) ? (size_t)d->form->rank : rows < columns ? rows : columns;
}

static size_t factors_rank(const struct delta *d)
{
	const struct sizes s = sizes_of(d);

	return thinnest(d, W1_A, s.p, s.q) * thinnest(d, W2_A, s.m, (size_t)s.n * d->w->kh * d->w->kw);
}

/* turned: the left one is [rank,rows] in the file, and a middle factor belongs to the right one */
static void split_thin(struct halves *h, const struct delta *d, int a, int b, bool turned)
{
	const float *left = d->part[a];

	for (size_t i = 0; i < h->rows; i++)
		for (size_t k = 0; k < h->rank; k++)
			h->left[i * h->rank + k] = left[turned ? k * h->rows + i : i * h->rank + k];
	if (turned)
		tucker_rows(h->right, d->part[T2], d->part[b], (int)h->rank, sizes_of(d).n,
			    d->w->kh * d->w->kw);
	else
		widen(h->right, d->part[b], h->rank * h->columns);
}

static void split_whole(struct halves *h, const double *whole)
{
	const bool wide = h->rank == h->rows;

	memcpy(wide ? h->right : h->left, whole, h->rows * h->columns * sizeof(*whole));
	for (size_t k = 0; k < h->rank; k++)
		(wide ? h->left : h->right)[k * h->rank + k] = 1;
}

static struct halves halves_of(const struct delta *d, const double *whole, size_t rows, size_t columns, int a, int b,
			       bool turned)
{
	const size_t rank = thinnest(d, a, rows, columns);
	struct halves h = { rows, columns, rank, xcalloc(rows * rank, sizeof(double)),
			    xcalloc(rank * columns, sizeof(double)) };

	if (is_thin(d, a, rows, columns))
		split_thin(&h, d, a, b, turned);
	else
		split_whole(&h, whole);
	return h;
}

/* The Kronecker product of two products is the product of Kronecker products.  to [a,b] (x) [c,e] */
static void kronecker(float *to, double scale, const double *one, size_t rows, size_t columns, const double *two,
		      size_t rows2, size_t columns2)
{
	for (size_t i = 0; i < rows * rows2; i++)
		for (size_t j = 0; j < columns * columns2; j++)
			*to++ = (float)(scale * one[i / rows2 * columns + j / columns2] *
					two[i % rows2 * columns2 + j % columns2]);
}

static void factors(const struct delta *d, struct delta_factors *f)
{
	const struct sizes s = sizes_of(d);
	const double *whole = d->own;
	struct halves one = halves_of(d, whole, s.p, s.q, W1_A, W1_B, false),
		      two = halves_of(d, whole + (size_t)s.p * s.q, s.m, (size_t)s.n * d->w->kh * d->w->kw, W2_A, W2_B,
				      d->part[T2] != NULL);

	kronecker(f->up, d->scale, one.left, one.rows, one.rank, two.left, two.rows, two.rank);
	kronecker(f->down, 1, one.right, one.rank, one.columns, two.right, two.rank, two.columns);
	free(one.left);
	free(one.right);
	free(two.left);
	free(two.right);
}

static const char *const algos[] = { "lokr", NULL };

static const struct kind_suffix suffixes[] = {
	{ "lokr_w1", W1 },
	{ "lokr_w1_a", W1_A },
	{ "lokr_w1_b", W1_B },
	{ "lokr_w2", W2 },
	{ "lokr_w2_a", W2_A },
	{ "lokr_w2_b", W2_B },
	{ "lokr_t2", T2 },
	{ NULL, 0 }
};

static const struct kind_arg args[] = {
	{ "factor", KIND_WHOLE, FACTOR, -1, 65536 },
	{ "use_tucker", KIND_FLAG, TUCKER },
	{ "use_cp", KIND_FLAG, TUCKER },
	{ "use_conv_cp", KIND_FLAG, TUCKER },
	{ "decompose_both", KIND_FLAG, DECOMPOSE_BOTH },
	{ "full_matrix", KIND_FLAG, FULL },
	{ "unbalanced_factorization", KIND_FLAG, UNBALANCED },
	{ 0 }
};

const struct adapter_kind kind_lokr = {
	.name = "LoKr",
	.module = "networks.lokr",
	.peft = "LOKR",
	.algos = algos,
	.suffixes = suffixes,
	.args = args,
	.any_rank = true,
	.defaults = { { [FACTOR] = -1 } },
	.form = form,
	.read = read_form,
	.missing = missing,
	.guess = guess,
	.shape = shape,
	.scale = scale,
	.lengths = true,
	.branch = { .forward = whole_forward, .backward = whole_backward, .whole = whole, .whole_back = whole_back },
	.delta_begin = both_factors,
	.add_delta = add_delta,
	.delta_norm = norm_of_factors,
	.factors_rank = factors_rank,
	.factors = factors,
	.kronecker = kronecker_of,
};
