/* Branches that compute all of dW in scratch, of the size of W, and use it in one more product of the layer. */
#include "internal.h"

static size_t count(const struct weight *w)
{
	return (size_t)w->out * w->kh * w->kw * w->in;
}

/* dw as a layer's weight */
static struct weight as_weight(const float *dw, const struct weight *w)
{
	return (struct weight){
		.data = (void *)dw, .dtype = DTYPE_F32, .out = w->out, .in = w->in, .kh = w->kh, .kw = w->kw
	};
}

void whole_add(struct tape *t, struct tensor *y, const struct tensor *x, const float *dw, float s,
	       const struct adapted *a)
{
	const struct backend *be = tape_backend(t);
	const struct weight w = as_weight(dw, a->w);
	float *v;

	if (!a->shape) {
		be->gemm(tape_device(t), 0, 1, tensor_rows(y), y->c, x->c, s, data_of(x), x->c, f32(dw), x->c, 1,
			 data_of(y), y->c);
		return;
	}
	v = tape_scratch(t, tensor_count(y));
	be->conv2d(tape_device(t), f32(v), data_of(x), &w, NULL, a->shape);
	be->axpby(tape_device(t), data_of(y), s, f32(v), 1, tensor_count(y));
	tape_scratch_give(t, v);
}

void whole_add_back(struct tape *t, const struct tensor *y, const struct tensor *x, struct values dx, float *dw,
		    float s, const struct adapted *a)
{
	const struct backend *be = tape_backend(t);
	const struct weight w = as_weight(dw, a->w);

	if (!a->shape) {
		be->gemm(tape_device(t), 0, 0, tensor_rows(x), x->c, y->c, s, grad_of(y), y->c, f32(dw), x->c, 1, dx,
			 x->c);
		return;
	}
	if (s != 1)
		be->axpby(tape_device(t), f32(dw), s, f32(dw), 0, count(a->w));
	be->conv2d_dx(tape_device(t), dx, grad_of(y), &w, a->shape, 1);
}

void whole_grad(struct tape *t, float *ddw, const struct tensor *y, const struct tensor *x, float s,
		const struct adapted *a)
{
	const struct backend *be = tape_backend(t);

	if (!a->shape) {
		be->gemm(tape_device(t), 1, 0, y->c, x->c, tensor_rows(y), s, grad_of(y), y->c, data_of(x), x->c, 0,
			 f32(ddw), x->c);
		return;
	}
	be->conv2d_dw(tape_device(t), ddw, data_of(x), grad_of(y), a->w->out, a->w->in, a->w->kh, a->w->kw, a->shape,
		      0);
	if (s != 1)
		be->axpby(tape_device(t), f32(ddw), s, f32(ddw), 0, count(a->w));
}

/* dW / scale, in scratch */
static float *whole_now(struct tape *t, const struct branch *b, const struct adapted *a)
{
	float *dw = tape_scratch(t, count(a->w));

	b->inner->whole(t, dw, b, a->w);
	branch_leave_out_rows(t, b, dw, a->w);
	return dw;
}

void whole_forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b,
		   const struct adapted *a, const void *pass)
{
	float *dw = whole_now(t, b, a);

	whole_add(t, y, x, dw, b->scale, a);
	tape_scratch_give(t, dw);
}

static void input_back(struct tape *t, struct values dx, const struct tensor *y, const struct tensor *x,
		       const struct branch *b, const struct adapted *a)
{
	float *dw = whole_now(t, b, a);

	whole_add_back(t, y, x, dx, dw, b->scale, a);
	tape_scratch_give(t, dw);
}

static void weight_back(struct tape *t, const struct tensor *y, const struct tensor *x, const struct branch *b,
			const struct part_grads *g, const struct adapted *a)
{
	float *ddw = tape_scratch(t, count(a->w));

	whole_grad(t, ddw, y, x, b->scale, a);
	branch_leave_out_rows(t, b, ddw, a->w);
	b->inner->whole_back(t, ddw, b, g, a->w);
	tape_scratch_give(t, ddw);
}

void whole_backward(struct tape *t, const struct tensor *y, const struct tensor *x, struct values dx,
		    const struct branch *b, const struct part_grads *g, const struct adapted *a, const void *pass)
{
	if (dx.at)
		input_back(t, dx, y, x, b, a);
	if (branch_trains(b))
		weight_back(t, y, x, b, g, a);
}
