/* LoHa: dW = scale (w1_a w1_b) * (w2_a w2_b), element by element (arXiv 2108.06098).  With a middle factor t each
 * product is w_a^T T(t, w_b). */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../base/product.h"
#include "tucker.h"

enum { W1_A, W1_B, W2_A, W2_B, T1, T2 };

/* One of the two products. */
struct half { int a, b, t; };
static const struct half halves[] = { { W1_A, W1_B, T1 }, { W2_A, W2_B, T2 } };

enum { TUCKER };                /* slots of the settings */

/* ---- shapes ---- */

static struct part_form normal(struct part_form p, float spread)
{
	p.start = START_NORMAL;
	p.spread = spread;
	return p;
}

static void set_half(struct module_form *f, const struct half *h, const struct weight *w, int r, bool tucker)
{
	f->part[h->a] = tucker ? part_flat(r, 1, 1, w->out) : part_flat(w->out, 1, 1, r);
	f->part[h->b] = normal(tucker ? part_flat(r, 1, 1, w->in) : part_flat(r, w->kh, w->kw, w->in), 1);
	if (tucker)
		f->part[h->t] = normal(part_whole(r, w->kh, w->kw, r, true), 0.1f);
}

static void set_form(struct module_form *f, const struct weight *w, int rank, bool tucker)
{
	*f = (struct module_form){ .rank = rank };
	set_half(f, &halves[0], w, rank, tucker);
	set_half(f, &halves[1], w, rank, tucker);
	f->part[W1_A] = normal(f->part[W1_A], 0.1f);
	f->part[W2_A].hastened = true;
}

static void form(struct module_form *f, const struct weight *w, const struct kind_wish *wish)
{
	set_form(f, w, wish->rank, wish->args->value[TUCKER] && w->kh * w->kw > 1);
	f->alpha = wish->alpha;
}

static bool read_form(struct module_form *f, const struct weight *w, const struct safetensor *const part[BRANCH_PARTS])
{
	const struct safetensor *b = part[W1_B];

	if (b->dims < 2 || b->shape[0] < 1 || b->shape[0] > KIND_MOST_RANK)
		return false;
	set_form(f, w, (int)b->shape[0], part[T1] != NULL);
	return true;
}

static int missing(const struct safetensor *const part[BRANCH_PARTS])
{
	for (int i = W1_A; i <= W2_B; i++)
		if (!part[i])
			return i;
	return part[T1] && !part[T2] ? T2 : part[T2] && !part[T1] ? T1 : -1;
}

/* A kernel that is flattened counts as inputs. */
static bool guess(struct weight *w, const struct safetensor *const part[BRANCH_PARTS])
{
	const struct safetensor *a = part[W1_A], *b = part[W1_B];

	return a->dims >= 2 && b->dims >= 2 && weight_of_shape(w, a->shape[part[T1] ? 1 : 0], b->shape[1], part[T1]);
}

/* ---- forward and backward ---- */

/* w_b, or its product with the middle factor, in scratch. */
static float *right_now(struct tape *t, const struct branch *b, const struct half *h)
{
	return b->part[h->t].n ? tucker_now(t, b, h->t, h->b) : b->part[h->b].data;
}

static void right_give(struct tape *t, const struct branch *b, const struct half *h, float *right)
{
	if (b->part[h->t].n)
		tape_scratch_give(t, right);
}

static int fan_of(const struct weight *w)
{
	return w->kh * w->kw * w->in;
}

/* out [out,kh,kw,in] = w_a w_b */
static void product(struct tape *t, float *out, const struct branch *b, const struct half *h, const struct weight *w)
{
	const struct tensor *a = &b->part[h->a];
	const bool tucker = b->part[h->t].n != 0;
	const int fan = fan_of(w), r = b->rank;
	float *right = right_now(t, b, h);

	tape_backend(t)->gemm(tape_device(t), tucker, 0, w->out, fan, r, 1, f32(a->data), tucker ? w->out : r,
			      f32(right), fan, 0, f32(out), fan);
	right_give(t, b, h, right);
}

static void whole(struct tape *t, float *dw, const struct branch *b, const struct weight *w)
{
	float *second = tape_scratch(t, (size_t)w->out * fan_of(w));

	product(t, dw, b, &halves[0], w);
	product(t, second, b, &halves[1], w);
	tape_backend(t)->multiply(tape_device(t), f32(dw), f32(dw), f32(second), w->out, fan_of(w), false);
	tape_scratch_give(t, second);
}

/* backward of P = w_a w_b:  dw_a = dP w_b^T;  dw_b = w_a^T dP */
static void product_back(struct tape *t, const float *dp, const struct branch *b, const struct part_grads *g,
			 const struct half *h, const struct weight *w)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const struct tensor *a = &b->part[h->a];
	const bool tucker = b->part[h->t].n != 0;
	const int fan = fan_of(w), r = b->rank, out = w->out;
	float *right = right_now(t, b, h), *dright = tucker ? tape_scratch(t, (size_t)r * fan) : g->at[h->b];

	if (g->at[h->a] && tucker)
		be->gemm(d, 0, 1, r, out, fan, 1, f32(right), fan, f32(dp), fan, g->add[h->a], f32(g->at[h->a]), out);
	else if (g->at[h->a])
		be->gemm(d, 0, 1, out, r, fan, 1, f32(dp), fan, f32(right), fan, g->add[h->a], f32(g->at[h->a]), r);
	right_give(t, b, h, right);
	if (dright)
		be->gemm(d, !tucker, 0, r, fan, out, 1, f32(a->data), tucker ? out : r, f32(dp), fan,
			 tucker ? 0 : g->add[h->b], f32(dright), fan);
	if (!tucker)
		return;
	tucker_back(t, dright, b, g, h->t, h->b);
	tape_scratch_give(t, dright);
}

/* backward of dW = P * Q:  dP = ddW * Q;  dQ = ddW * P */
static void whole_back(struct tape *t, float *ddw, const struct branch *b, const struct part_grads *g,
		       const struct weight *w)
{
	float *other = tape_scratch(t, (size_t)w->out * fan_of(w));

	for (int i = 0; i < 2; i++) {
		product(t, other, b, &halves[!i], w);
		tape_backend(t)->multiply(tape_device(t), f32(other), f32(other), f32(ddw), w->out, fan_of(w), false);
		product_back(t, other, b, g, &halves[i], w);
	}
	tape_scratch_give(t, other);
}

/* ---- on the host ---- */

/* With middle factors, both right factors times these, [2][rank][columns]. */
static void *right_factors(const struct delta *d)
{
	const int r = d->form->rank, taps = d->w->kh * d->w->kw;
	const size_t each = (size_t)r * d->w->in * taps;
	double *own;

	if (!d->part[T1])
		return NULL;
	own = xmalloc(2 * each * sizeof(*own));
	for (int i = 0; i < 2; i++)
		tucker_rows(own + i * each, d->part[halves[i].t], d->part[halves[i].b], r, d->w->in, taps);
	return own;
}

/* A half's left factor, which is turned where there is a middle one, and its right one. */
static struct matrix left_factor(const struct delta *d, int half)
{
	const size_t r = d->form->rank;

	return (struct matrix){ .floats = d->part[halves[half].a], .row = d->own ? 1 : r,
				.column = d->own ? d->w->out : 1 };
}

static struct matrix right_factor(const struct delta *d, int half)
{
	const size_t columns = (size_t)d->w->in * d->w->kh * d->w->kw;

	return (struct matrix){ .floats = d->own ? NULL : d->part[halves[half].b],
				.doubles = d->own ? (const double *)d->own + half * d->form->rank * columns : NULL,
				.row = columns, .column = 1 };
}

/* The rectangle of one of the two products, [rows][columns] */
static void half_tile(double *to, const struct delta *d, int half, const struct delta_tile *t)
{
	const struct matrix left = left_factor(d, half), right = right_factor(d, half),
			    a = matrix_from(&left, t->row, 0), b = matrix_from(&right, 0, t->column);

	memset(to, 0, t->rows * t->columns * sizeof(*to));
	product_add(to, t->columns, 1, &a, &b, t->rows, t->columns, d->form->rank);
}

static void add_delta(const struct delta *d, const struct delta_tile *t, const struct base_rows *base)
{
	const size_t n = t->rows * t->columns;
	double *first = xmalloc(2 * n * sizeof(*first)), *second = first + n;

	half_tile(first, d, 0, t);
	half_tile(second, d, 1, t);
	for (size_t i = 0; i < t->rows; i++)
		for (size_t j = 0; j < t->columns; j++)
			t->sum[i * t->step + j] +=
				d->scale * first[i * t->columns + j] * second[i * t->columns + j];
	free(first);
}

/* (sum of a_i b_i) * (sum of c_j d_j), element by element, is the sum over all i, j of (a_i * c_j)(b_i * d_j). */
static size_t factors_rank(const struct delta *d)
{
	return (size_t)d->form->rank * d->form->rank;
}

static void factors(const struct delta *d, struct delta_factors *f)
{
	const size_t r = d->form->rank, columns = (size_t)d->w->in * d->w->kh * d->w->kw;
	const struct matrix left[] = { left_factor(d, 0), left_factor(d, 1) },
			    right[] = { right_factor(d, 0), right_factor(d, 1) };

	for (size_t o = 0; o < (size_t)d->w->out; o++)
		for (size_t k = 0; k < f->rank; k++)
			f->up[o * f->rank + k] = (float)(d->scale * matrix_at(&left[0], o, k / r) *
							 matrix_at(&left[1], o, k % r));
	for (size_t k = 0; k < f->rank; k++)
		for (size_t j = 0; j < columns; j++)
			f->down[k * columns + j] =
				(float)(matrix_at(&right[0], k / r, j) * matrix_at(&right[1], k % r, j));
}

static const char *const algos[] = { "loha", NULL };

static const struct kind_suffix suffixes[] = {
	{ "hada_w1_a", W1_A },
	{ "hada_w1_b", W1_B },
	{ "hada_w2_a", W2_A },
	{ "hada_w2_b", W2_B },
	{ "hada_t1", T1 },
	{ "hada_t2", T2 },
	{ NULL, 0 }
};

static const struct kind_arg args[] = {
	{ "use_tucker", KIND_FLAG, TUCKER },
	{ "use_cp", KIND_FLAG, TUCKER },
	{ "use_conv_cp", KIND_FLAG, TUCKER },
	{ 0 }
};

const struct adapter_kind kind_loha = {
	.name = "LoHa", .module = "networks.loha", .peft = "LOHA", .algos = algos, .suffixes = suffixes, .args = args,
	.form = form, .read = read_form, .missing = missing, .guess = guess,
	.lengths = true,
	.branch = { .forward = whole_forward, .backward = whole_backward, .whole = whole, .whole_back = whole_back },
	.delta_begin = right_factors, .add_delta = add_delta,
	.factors_rank = factors_rank, .factors = factors,
};
