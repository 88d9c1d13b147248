/* Branches that compute all of dW in scratch, of the size of W, and use it in one more product of the layer. */
#include "internal.h"

static size_t count(const struct weight *w)
{
	return (size_t)w->out * w->kh * w->kw * w->in;
}

/* Computes dW in scratch; *as is dW as a layer's weight. */
static float *whole_now(struct tape *t, const struct branch *b, const struct adapted *a, struct weight *as)
{
	float *dw = tape_scratch(t, count(a->w));

	b->inner->whole(t, dw, b, a->w);
	branch_leave_out_rows(t, b, dw, a->w);
	*as = (struct weight){ .data = dw, .dtype = DTYPE_F32, .out = a->w->out, .in = a->w->in, .kh = a->w->kh,
			       .kw = a->w->kw };
	return dw;
}

void whole_forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b,
		   const struct adapted *a, const void *pass)
{
	const struct backend *be = tape_backend(t);
	struct weight w;
	float *dw = whole_now(t, b, a, &w), *v;

	if (!a->shape) {
		be->gemm(tape_device(t), 0, 1, tensor_rows(y), y->c, x->c, b->scale, x->data, x->c, dw, x->c, 1,
			 y->data, y->c);
	} else {
		v = tape_scratch(t, tensor_count(y));
		be->conv2d(tape_device(t), v, x->data, &w, NULL, a->shape);
		be->axpby(tape_device(t), y->data, b->scale, v, 1, tensor_count(y));
		tape_scratch_give(t, v);
	}
	tape_scratch_give(t, dw);
}

/* backward of y += s x dW^T:  dx += s dy dW */
static void input_back(struct tape *t, float *dx, const struct tensor *y, const struct tensor *x,
		       const struct branch *b, const struct adapted *a)
{
	const struct backend *be = tape_backend(t);
	const size_t n = count(a->w);
	struct weight w;
	float *dw = whole_now(t, b, a, &w);

	if (a->shape) {
		be->axpby(tape_device(t), dw, b->scale, dw, 0, n);
		be->conv2d_dx(tape_device(t), dx, y->grad, &w, a->shape, 1);
	} else {
		be->gemm(tape_device(t), 0, 0, tensor_rows(x), x->c, y->c, b->scale, y->grad, y->c, dw, x->c, 1, dx,
			 x->c);
	}
	tape_scratch_give(t, dw);
}

/* backward of y += s x dW^T:  ddw = s dy^T x */
static void weight_back(struct tape *t, const struct tensor *y, const struct tensor *x, const struct branch *b,
			const struct part_grads *g, const struct adapted *a)
{
	const struct backend *be = tape_backend(t);
	float *ddw = tape_scratch(t, count(a->w));

	if (a->shape) {
		be->conv2d_dw(tape_device(t), ddw, x->data, y->grad, a->w->out, a->w->in, a->w->kh, a->w->kw, a->shape,
			      0);
		be->axpby(tape_device(t), ddw, b->scale, ddw, 0, count(a->w));
	} else {
		be->gemm(tape_device(t), 1, 0, y->c, x->c, tensor_rows(y), b->scale, y->grad, y->c, x->data, x->c, 0,
			 ddw, x->c);
	}
	branch_leave_out_rows(t, b, ddw, a->w);
	b->inner->whole_back(t, ddw, b, g, a->w);
	tape_scratch_give(t, ddw);
}

void whole_backward(struct tape *t, const struct tensor *y, const struct tensor *x, float *dx, const struct branch *b,
		    const struct part_grads *g, const struct adapted *a, const void *pass)
{
	if (dx)
		input_back(t, dx, y, x, b, a);
	if (branch_trains(b))
		weight_back(t, y, x, b, g, a);
}
