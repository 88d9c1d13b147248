/* A frozen layer with its branches: forward and backward. */
#include <stdlib.h>
#include "../base/memory.h"
#include "internal.h"

bool branch_trains(const struct branch *b)
{
	for (int i = 0; i < BRANCH_PARTS; i++)
		if (b->part[i].wants_grad)
			return true;
	return false;
}

bool adapted_trains(const struct adapted *a)
{
	for (const struct branch *b = a->branch; b; b = b->next)
		if (branch_trains(b))
			return true;
	return false;
}

void adapted_product(struct tape *t, struct values y, const struct tensor *x, const struct adapted *a,
		     const float *bias)
{
	if (a->shape)
		tape_backend(t)->conv2d(tape_device(t), y, data_of(x), a->w, bias, a->shape);
	else
		tape_backend(t)->linear(tape_device(t), y, data_of(x), a->w, bias, tensor_rows(x), NULL);
}

void adapted_product_back(struct tape *t, struct values dx, struct values dy, const struct tensor *x,
			  const struct adapted *a, int add)
{
	if (a->shape)
		tape_backend(t)->conv2d_dx(tape_device(t), dx, dy, a->w, a->shape, add);
	else
		tape_backend(t)->linear_dx(tape_device(t), dx, dy, a->w, tensor_rows(x), add, NULL);
}

/* ---- one pass: the branches that dropout does not drop, and their factors of W ---- */

struct pass { struct branch *branch; void *own; struct branch_gains gains; };

/* W becomes rows * W where the branches have gains of rows alone: a row of W counts 1 + sum of weight (gain - 1) times.
 * It becomes W * columns where they have gains of columns alone; where they have both, rows * W + W * columns, and a
 * column counts sum of weight (gain - 1) times. */
struct passes {
	size_t count;
	struct pass *item;
	float *rows, *columns;          /* [out], [in]; NULL: nothing */
	bool trains;                    /* the gains of columns have a gradient */
};

static const float *gain_of(const struct pass *p, bool columns)
{
	return columns ? p->gains.in : p->gains.out;
}

/* first: what a factor is without any gain.  NULL: no branch has one. */
static float *factor_of(struct tape *t, const struct passes *p, bool columns, float first, int n)
{
	const struct backend *be = tape_backend(t);
	const struct branch_constants *constants = NULL;
	float *factor = NULL, rest = first;

	for (size_t i = 0; i < p->count; i++) {
		const struct branch *b = p->item[i].branch;

		if (!gain_of(&p->item[i], columns))
			continue;
		if (!factor)
			factor = tape_scratch(t, n);
		be->axpby(tape_device(t), f32(factor), b->weight, f32(gain_of(&p->item[i], columns)), constants != NULL,
			  n);
		constants = b->constants;
		rest -= b->weight;
	}
	if (factor && rest != 0)
		be->axpby(tape_device(t), f32(factor), rest, f32(constants->ones), 1, n);
	return factor;
}

static struct passes begin(struct tape *t, const struct adapted *a)
{
	struct passes p = { 0 };

	for (const struct branch *b = a->branch; b; b = b->next)
		p.count++;
	p.item = p.count ? xcalloc(p.count, sizeof(*p.item)) : NULL;
	p.count = 0;
	for (struct branch *b = a->branch; b; b = b->next) {
		struct pass *one = &p.item[p.count];

		if (branch_is_out(b))
			continue;
		p.count++;
		one->branch = b;
		one->own = b->kind->begin ? b->kind->begin(t, b, a, &one->gains) : NULL;
		p.trains |= one->gains.in && branch_trains(b);
	}
	p.rows = factor_of(t, &p, false, 1, a->w->out);
	p.columns = factor_of(t, &p, true, p.rows ? 0 : 1, a->w->in);
	return p;
}

static void end(struct tape *t, struct passes *p)
{
	if (p->columns)
		tape_scratch_give(t, p->columns);
	if (p->rows)
		tape_scratch_give(t, p->rows);
	while (p->count--)
		if (p->item[p->count].branch->kind->end)
			p->item[p->count].branch->kind->end(t, p->item[p->count].own);
	free(p->item);
}

/* ---- forward and backward ---- */

/* Whether the layer's own product adds the first branch's, while what it is added to is in the cache. */
static bool joins(const struct passes *p, const struct adapted *a)
{
	const struct branch *first = p->count ? p->item[0].branch : NULL;

	return first && first->kind->is_narrow && first->kind->is_narrow(first) && !a->shape && !p->rows && !p->columns;
}

static void joined_forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct adapted *a,
			   const struct branch *b)
{
	const struct narrow n = b->kind->narrow(t, y, x, b, a);

	tape_backend(t)->linear(tape_device(t), data_of(y), data_of(x), a->w, a->bias, tensor_rows(x), &n);
	if (n.z != y->beside)
		tape_scratch_give(t, n.z);
}

/* y = or, add: y += W (columns * x) */
static void columns_forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct adapted *a,
			    const float *columns, const float *bias, bool add)
{
	const struct backend *be = tape_backend(t);
	struct tensor scaled = *x;
	const struct values v = add ? f32(tape_scratch(t, tensor_count(y))) : data_of(y);

	scaled.data = tape_scratch(t, tensor_count(x));
	scaled.type = DTYPE_F32;
	be->multiply(tape_device(t), f32(scaled.data), data_of(x), f32(columns), tensor_rows(x), x->c, true);
	adapted_product(t, v, &scaled, a, bias);
	tape_scratch_give(t, scaled.data);
	if (!add)
		return;
	be->axpby(tape_device(t), data_of(y), 1, v, 1, tensor_count(y));
	tape_scratch_give(t, v.at);
}

void adapted_forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct adapted *a)
{
	const struct backend *be = tape_backend(t);
	struct passes p = begin(t, a);
	const bool joined = joins(&p, a);

	if (joined)
		joined_forward(t, y, x, a, p.item[0].branch);
	else if (!p.columns || p.rows)
		adapted_product(t, data_of(y), x, a, p.rows ? NULL : a->bias);
	if (p.rows)
		be->multiply(tape_device(t), data_of(y), data_of(y), f32(p.rows), tensor_rows(y), y->c, true);
	if (p.columns)
		columns_forward(t, y, x, a, p.columns, p.rows ? NULL : a->bias, p.rows != NULL);
	for (size_t i = joined; i < p.count; i++)
		p.item[i].branch->kind->forward(t, y, x, p.item[i].branch, a, p.item[i].own);
	if (p.rows && a->bias)
		be->add_per_sample(tape_device(t), data_of(y), data_of(y), f32(a->bias), 1, tensor_rows(y), y->c);
	for (size_t i = 0; i < p.count; i++)
		if (p.item[i].branch->bias)
			be->add_per_sample(tape_device(t), data_of(y), data_of(y), f32(p.item[i].branch->bias), 1,
					   tensor_rows(y), y->c);
	end(t, &p);
}

/* backward of y = W (columns * x):  dx = columns * (dy W), or dx += it; by_input, where it is wanted */
static void columns_back(struct tape *t, struct values dx, int add, const struct tensor *y, const struct tensor *x,
			 const struct adapted *a, const float *columns, float *by_input)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const int rows = tensor_rows(x), in = x->c;
	const size_t n = tensor_count(x);
	float *u = tape_scratch(t, n), *v = by_input && dx.at && add ? tape_scratch(t, n) : u;

	adapted_product_back(t, f32(u), grad_of(y), x, a, 0);
	if (dx.at)
		be->multiply(d, add ? f32(v) : dx, f32(u), f32(columns), rows, in, true);
	if (dx.at && add)
		be->axpby(d, dx, 1, f32(v), 1, n);
	if (by_input) {
		be->multiply(d, f32(u), f32(u), data_of(x), rows, in, false);
		be->sum_per_sample(d, f32(by_input), f32(u), 1, rows, in, 0);
	}
	if (v != u)
		tape_scratch_give(t, v);
	tape_scratch_give(t, u);
}

static void rows_back(struct tape *t, struct values dx, int add, const struct tensor *y, const struct tensor *x,
		      const struct adapted *a, const float *rows)
{
	const struct values dy = f32(tape_scratch(t, tensor_count(y)));

	tape_backend(t)->multiply(tape_device(t), dy, grad_of(y), f32(rows), tensor_rows(y), y->c, true);
	adapted_product_back(t, dx, dy, x, a, add);
	tape_scratch_give(t, dy.at);
}

/* dx.at NULL: not wanted.  by_input NULL: the same */
static void base_back(struct tape *t, struct values dx, int add, const struct tensor *y, const struct tensor *x,
		      const struct adapted *a, const struct passes *p, float *by_input)
{
	if (dx.at && p->rows)
		rows_back(t, dx, add, y, x, a, p->rows);
	else if (dx.at && !p->columns)
		adapted_product_back(t, dx, grad_of(y), x, a, add);
	if (p->columns && (dx.at || by_input))
		columns_back(t, dx, add || p->rows, y, x, a, p->columns, by_input);
}

static struct part_grads grads_of(struct tape *t, struct branch *b, const float *by_input)
{
	struct part_grads g = { .by_input = by_input };

	for (int i = 0; i < BRANCH_PARTS; i++)
		g.at[i] = floats_at(tape_grad(t, &b->part[i], &g.add[i]));
	return g;
}

static void joined_back(struct tape *t, struct values dx, int add, const struct tensor *y, const struct tensor *x,
			const struct adapted *a, struct branch *b)
{
	const struct part_grads g = grads_of(t, b, NULL);
	const struct narrow n = b->kind->narrow_dx(t, y, b);

	tape_backend(t)->linear_dx(tape_device(t), dx, grad_of(y), a->w, tensor_rows(x), add, &n);
	b->kind->narrow_grads(t, y, x, n.z, b, &g, a);
	tape_scratch_give(t, n.z);
}

/* The same where x = geglu(h), which nothing else reads: h has its gradient, and x none. */
static void gated_back(struct tape *t, const struct tensor *y, const struct tensor *x, const struct adapted *a,
		       struct branch *b)
{
	const struct part_grads g = grads_of(t, b, NULL);
	const struct narrow n = b->kind->narrow_dx(t, y, b);
	const size_t bytes = tensor_count(x) * dtype_size(x->type);
	const struct values h = data_of(x->gate);
	float *room = tape_scratch(t, (bytes + sizeof(*room) - 1) / sizeof(*room));
	struct values dx = grad_of(x);
	int add = 0;
	const struct values dh = tape_grad_over(t, x->gate, &add);

	dx.at = room;
	tape_backend(t)->linear_dx_geglu(tape_device(t), dh, dx, grad_of(y), h, a->w, tensor_rows(x), &n);
	tape_scratch_give(t, room);
	b->kind->narrow_grads(t, y, x, n.z, b, &g, a);
	tape_scratch_give(t, n.z);
}

static bool is_gated(const struct tensor *x, const struct passes *p, const struct adapted *a)
{
	const struct tensor *h = x->gate;

	return h && h->wants_grad && !h->grad && !x->grad && p->count == 1 && joins(p, a);
}

static void backward(struct tape *t, const struct tensor *y, const struct tensor *x, struct values dx,
		     const struct pass *p, const struct adapted *a, const float *by_input)
{
	struct part_grads g;

	if (!dx.at && !branch_trains(p->branch))
		return;
	g = grads_of(t, p->branch, by_input);
	p->branch->kind->backward(t, y, x, dx, p->branch, &g, a, p->own);
}

void adapted_backward(struct tape *t, const struct tensor *y, struct tensor *x, const struct adapted *a)
{
	struct passes p = begin(t, a);
	const bool gated = is_gated(x, &p, a);
	int add = 0;
	const struct values dx = gated ? f32(NULL) : tape_grad(t, x, &add);
	float *by_input = p.trains ? tape_scratch(t, a->w->in) : NULL;
	const bool joined = gated || (dx.at && joins(&p, a));

	if (gated)
		gated_back(t, y, x, a, p.item[0].branch);
	else if (joined)
		joined_back(t, dx, add, y, x, a, p.item[0].branch);
	else
		base_back(t, dx, add, y, x, a, &p, by_input);
	for (size_t i = joined; i < p.count; i++)
		backward(t, y, x, dx, &p.item[i], a, by_input);
	if (by_input)
		tape_scratch_give(t, by_input);
	end(t, &p);
}
