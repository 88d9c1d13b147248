/* Lengths of rows around a kind that is not trained: gain = m / |W + dW| is known from the start. */
#include "lengths.h"

/* y += weight (gain (W x + dW x) - W x) */
static void forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b,
		    const struct adapted *a, const void *pass)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	struct tensor v = *y;

	v.data = tape_scratch(t, tensor_count(y));
	adapted_product(t, v.data, x, a, NULL);
	be->axpby(d, y->data, -b->weight, v.data, 1, tensor_count(y));
	b->inner->forward(t, &v, x, b, a, pass);
	be->multiply(d, v.data, v.data, b->fixed, tensor_rows(y), y->c, true);
	be->axpby(d, y->data, b->weight, v.data, 1, tensor_count(y));
	tape_scratch_give(t, v.data);
}

/* backward of it, with dv = weight gain dy:  dx += (dv - weight dy) W + dv dW */
static void backward(struct tape *t, const struct tensor *y, const struct tensor *x, float *dx, const struct branch *b,
		     const struct part_grads *g, const struct adapted *a, const void *pass)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	struct tensor v = *y;

	v.grad = tape_scratch(t, tensor_count(y));
	be->multiply(d, v.grad, y->grad, b->fixed, tensor_rows(y), y->c, true);
	be->axpby(d, v.grad, b->weight, v.grad, 0, tensor_count(y));
	b->inner->backward(t, &v, x, dx, b, g, a, pass);
	be->axpby(d, v.grad, -b->weight, y->grad, 1, tensor_count(y));
	adapted_product_back(t, dx, v.grad, x, a, 1);
	tape_scratch_give(t, v.grad);
}

const struct branch_kind dora_rows = { .forward = forward, .backward = backward };
