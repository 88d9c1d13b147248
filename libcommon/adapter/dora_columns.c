/* DoRA with lengths of columns around a kind that is not trained: gain = m / |W + dW| is known from the start. */
#include "lengths.h"

/* b->fixed: the gain, and weight times it. */
static void *begin(struct tape *t, const struct branch *b, const struct adapted *a, struct branch_gains *gains)
{
	gains->in = b->fixed;
	return NULL;
}

/* y += dW (weight gain x): W x has its gain already */
static void forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b,
		    const struct adapted *a, const void *pass)
{
	struct tensor scaled = *x;

	scaled.data = tape_scratch(t, tensor_count(x));
	scaled.type = DTYPE_F32;
	tape_backend(t)->multiply(tape_device(t), f32(scaled.data), data_of(x), f32(b->fixed + x->c), tensor_rows(x),
				  x->c, true);
	b->inner->forward(t, y, &scaled, b, a, pass);
	tape_scratch_give(t, scaled.data);
}

/* backward of it:  dx += weight gain (dy dW) */
static void backward(struct tape *t, const struct tensor *y, const struct tensor *x, struct values dx,
		     const struct branch *b, const struct part_grads *g, const struct adapted *a, const void *pass)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	float *part = tape_scratch(t, tensor_count(x));

	be->zero(d, f32(part), tensor_count(x));
	b->inner->backward(t, y, x, f32(part), b, g, a, pass);
	be->multiply(d, f32(part), f32(part), f32(b->fixed + x->c), tensor_rows(x), x->c, true);
	be->axpby(d, dx, 1, f32(part), 1, tensor_count(x));
	tape_scratch_give(t, part);
}

const struct branch_kind dora_columns = { .begin = begin, .forward = forward, .backward = backward };
