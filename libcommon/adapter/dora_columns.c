/* DoRA with lengths of columns, from other programs' files.  They are never trained, so they scale the channels of x by
 * known factors. */
#include "lengths.h"

/* y += weight (W (gain x - x) + dW (gain x)) */
static void forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b,
		    const struct adapted *a, const void *pass)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	struct tensor scaled = *x, v = *y;

	v.data = tape_scratch(t, tensor_count(y));
	scaled.data = tape_scratch(t, tensor_count(x));
	be->multiply(d, scaled.data, x->data, b->fixed, tensor_rows(x), x->c, true);
	adapted_product(t, v.data, &scaled, a, NULL);
	be->multiply(d, scaled.data, x->data, b->fixed + x->c, tensor_rows(x), x->c, true);
	b->inner->forward(t, &v, &scaled, b, a, pass);
	be->axpby(d, y->data, b->weight, v.data, 1, tensor_count(y));
	tape_scratch_give(t, scaled.data);
	tape_scratch_give(t, v.data);
}

/* backward of it:  dx += weight ((gain - 1) (dy W) + gain (dy dW)) */
static void backward(struct tape *t, const struct tensor *y, const struct tensor *x, float *dx, const struct branch *b,
		     const struct part_grads *g, const struct adapted *a, const void *pass)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	float *part = tape_scratch(t, tensor_count(x));

	adapted_product_back(t, part, y->grad, x, a, 0);
	be->multiply(d, part, part, b->fixed, tensor_rows(x), x->c, true);
	be->axpby(d, dx, b->weight, part, 1, tensor_count(x));
	be->zero(d, part, tensor_count(x));
	b->inner->backward(t, y, x, part, b, g, a, pass);
	be->multiply(d, part, part, b->fixed + x->c, tensor_rows(x), x->c, true);
	be->axpby(d, dx, b->weight, part, 1, tensor_count(x));
	tape_scratch_give(t, part);
}

const struct branch_kind dora_columns = { .forward = forward, .backward = backward };
