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

void adapted_product(struct tape *t, float *y, const struct tensor *x, const struct adapted *a, const float *bias)
{
	if (a->shape)
		tape_backend(t)->conv2d(tape_device(t), y, x->data, a->w, bias, a->shape);
	else
		tape_backend(t)->linear(tape_device(t), y, x->data, a->w, bias, tensor_rows(x));
}

void adapted_product_back(struct tape *t, float *dx, const float *dy, const struct tensor *x, const struct adapted *a,
			  int add)
{
	if (a->shape)
		tape_backend(t)->conv2d_dx(tape_device(t), dx, dy, a->w, a->shape, add);
	else
		tape_backend(t)->linear_dx(tape_device(t), dx, dy, a->w, tensor_rows(x), add);
}

/* ---- one pass: the branches that dropout does not drop, and their factor of W x ---- */

struct pass { struct branch *branch; void *own; const float *gain; };

struct passes {
	size_t count;
	struct pass *item;
	/* [out]: what W x is multiplied with, 1 + sum of weight (gain - 1); NULL: nothing */
	float *factor;
};

static void set_factor(struct tape *t, struct passes *p, int out)
{
	const struct backend *be = tape_backend(t);
	const struct branch_constants *constants = NULL;
	float rest = 1;

	for (size_t i = 0; i < p->count; i++) {
		const struct branch *b = p->item[i].branch;

		if (!p->item[i].gain)
			continue;
		if (!p->factor)
			p->factor = tape_scratch(t, out);
		be->axpby(tape_device(t), p->factor, b->weight, p->item[i].gain, constants != NULL, out);
		constants = b->constants;
		rest -= b->weight;
	}
	if (p->factor && rest != 0)
		be->axpby(tape_device(t), p->factor, rest, constants->ones, 1, out);
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
		one->own = b->kind->begin ? b->kind->begin(t, b, a, &one->gain) : NULL;
	}
	set_factor(t, &p, a->w->out);
	return p;
}

static void end(struct tape *t, struct passes *p)
{
	if (p->factor)
		tape_scratch_give(t, p->factor);
	while (p->count--)
		if (p->item[p->count].branch->kind->end)
			p->item[p->count].branch->kind->end(t, p->item[p->count].own);
	free(p->item);
}

/* ---- forward and backward ---- */

void adapted_forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct adapted *a)
{
	const struct backend *be = tape_backend(t);
	struct passes p = begin(t, a);

	adapted_product(t, y->data, x, a, p.factor ? NULL : a->bias);
	if (p.factor)
		be->multiply(tape_device(t), y->data, y->data, p.factor, tensor_rows(y), y->c, true);
	for (size_t i = 0; i < p.count; i++)
		p.item[i].branch->kind->forward(t, y, x, p.item[i].branch, a, p.item[i].own);
	if (p.factor && a->bias)
		be->add_per_sample(tape_device(t), y->data, y->data, a->bias, 1, tensor_rows(y), y->c);
	end(t, &p);
}

static void backward(struct tape *t, const struct tensor *y, const struct tensor *x, float *dx, const struct pass *p,
		     const struct adapted *a)
{
	struct branch *b = p->branch;
	struct part_grads g = { 0 };

	if (!dx && !branch_trains(b))
		return;
	for (int i = 0; i < BRANCH_PARTS; i++)
		g.at[i] = tape_grad(t, &b->part[i], &g.add[i]);
	b->kind->backward(t, y, x, dx, b, &g, a, p->own);
}

void adapted_backward(struct tape *t, const struct tensor *y, struct tensor *x, const struct adapted *a)
{
	int add = 0;
	float *dx = tape_grad(t, x, &add);
	struct passes p = begin(t, a);

	if (dx && p.factor) {
		float *dy = tape_scratch(t, tensor_count(y));

		tape_backend(t)->multiply(tape_device(t), dy, y->grad, p.factor, tensor_rows(y), y->c, true);
		adapted_product_back(t, dx, dy, x, a, add);
		tape_scratch_give(t, dy);
	} else if (dx) {
		adapted_product_back(t, dx, y->grad, x, a, add);
	}
	for (size_t i = 0; i < p.count; i++)
		backward(t, y, x, dx, &p.item[i], a);
	end(t, &p);
}
