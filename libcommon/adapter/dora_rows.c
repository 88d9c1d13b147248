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
	v.type = DTYPE_F32;
	adapted_product(t, f32(v.data), x, a, NULL);
	be->axpby(d, data_of(y), -b->weight, f32(v.data), 1, tensor_count(y));
	b->inner->forward(t, &v, x, b, a, pass);
	be->multiply(d, f32(v.data), f32(v.data), f32(b->fixed), tensor_rows(y), y->c, true);
	be->axpby(d, data_of(y), b->weight, f32(v.data), 1, tensor_count(y));
	tape_scratch_give(t, v.data);
}

/* backward of it, with dv = weight gain dy:  dx += (dv - weight dy) W + dv dW */
static void backward(struct tape *t, const struct tensor *y, const struct tensor *x, struct values dx,
		     const struct branch *b, const struct part_grads *g, const struct adapted *a, const void *pass)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	struct tensor v = *y;

	v.grad = tape_scratch(t, tensor_count(y));
	v.type = DTYPE_F32;
	be->multiply(d, f32(v.grad), grad_of(y), f32(b->fixed), tensor_rows(y), y->c, true);
	be->axpby(d, f32(v.grad), b->weight, f32(v.grad), 0, tensor_count(y));
	b->inner->backward(t, &v, x, dx, b, g, a, pass);
	be->axpby(d, f32(v.grad), -b->weight, grad_of(y), 1, tensor_count(y));
	adapted_product_back(t, dx, f32(v.grad), x, a, 1);
	tape_scratch_give(t, v.grad);
}

const struct branch_kind dora_rows = { .forward = forward, .backward = backward };
