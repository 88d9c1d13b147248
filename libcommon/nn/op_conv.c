#include "internal.h"
#include "ops.h"

struct conv_op {
	const struct conv *layer;
	struct conv_shape shape;
};

static struct weight filters(const struct lora *l)
{
	return (struct weight){ .data = l->down.data, .dtype = DTYPE_F32, .out = l->rank, .in = l->down.c, .kh = l->down.h, .kw = l->down.w };
}

/* y += s z up^T,  z = conv(x, down);  down [r,kh,kw,in], up [out,r] */
static void add_lora(struct tape *t, struct tensor *y, const struct tensor *x, const struct lora *l, const struct conv_shape *s)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	struct weight down = filters(l);
	float *z = tape_scratch(t, (size_t)tensor_rows(y) * l->rank);

	be->conv2d(d, z, x->data, &down, NULL, s);
	lora_leave_out(t, l, z, y->n, y->h * y->w);
	be->gemm(d, 0, 1, tensor_rows(y), y->c, l->rank, l->scale, z, l->rank, l->up.data, l->rank, 1, y->data, y->c);
	tape_scratch_give(t, z);
}

/* inverts y += s z up^T:  dup += s dy^T z;  dz = s dy up;  ddown, dx += the two gradients of conv */
static void lora_backward(struct tape *t, const struct tensor *y, const struct tensor *x, float *dx, struct lora *l,
			  const struct conv_shape *s)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	struct weight down = filters(l);
	int rows = tensor_rows(y), r = l->rank, add_up = 0, add_down = 0;
	float *dup = tape_grad(t, &l->up, &add_up), *ddown = tape_grad(t, &l->down, &add_down);
	float *z = tape_scratch(t, (size_t)rows * r), *dz = tape_scratch(t, (size_t)rows * r);

	if (dup) {
		be->conv2d(d, z, x->data, &down, NULL, s);
		lora_leave_out(t, l, z, y->n, y->h * y->w);
		be->gemm(d, 1, 0, y->c, r, rows, l->scale, y->grad, y->c, z, r, add_up, dup, r);
	}
	be->gemm(d, 0, 0, rows, r, y->c, l->scale, y->grad, y->c, l->up.data, r, 0, dz, r);
	lora_leave_out(t, l, dz, y->n, y->h * y->w);
	if (ddown)
		be->conv2d_dw(d, ddown, x->data, dz, r, x->c, down.kh, down.kw, s, add_down);
	if (dx)
		be->conv2d_dx(d, dx, dz, &down, s, 1);
	tape_scratch_give(t, dz);
	tape_scratch_give(t, z);
}

/* inverts y = conv(x, W) + bias + adapters:  dx = conv'(dy, W) + adapters' */
static void conv_backward(struct tape *t, const struct node *n)
{
	const struct conv_op *op = n->op;
	struct tensor *x = n->in[0];
	struct lora *a;
	int add = 0;
	float *dx = tape_grad(t, x, &add);

	if (dx)
		tape_backend(t)->conv2d_dx(tape_device(t), dx, n->out->grad, &op->layer->w, &op->shape, add);
	for (a = op->layer->lora; a; a = a->next)
		if (!lora_is_out(a))
			lora_backward(t, n->out, x, dx, a, &op->shape);
}

static struct tensor *conv(struct tape *t, struct tensor *x, const struct conv *c, int pad, int oh, int ow)
{
	struct conv_op op = { c, { x->n, x->h, x->w, oh, ow, c->stride, pad } };
	struct tensor *y;
	const struct lora *a;
	bool trains = false;

	must(x->c == c->w.in, "conv: input channels");
	y = tensor_new(t, x->n, oh, ow, c->w.out);
	tape_backend(t)->conv2d(tape_device(t), y->data, x->data, &c->w, c->bias, &op.shape);
	for (a = c->lora; a; a = a->next) {
		if (!lora_is_out(a))
			add_lora(t, y, x, a, &op.shape);
		trains |= a->down.wants_grad || a->up.wants_grad;
	}
	return tape_record(t, y, trains, (struct node){ conv_backward, .in = { x }, .reads = trains ? READS(0) : 0,
									 .op = tape_keep(t, &op, sizeof(op)) });
}

struct tensor *op_conv(struct tape *t, struct tensor *x, const struct conv *c)
{
	int k = c->w.kh, pad = k / 2;

	return conv(t, x, c, pad, (x->h + 2 * pad - k) / c->stride + 1, (x->w + 2 * pad - k) / c->stride + 1);
}

struct tensor *op_conv_pad_end(struct tape *t, struct tensor *x, const struct conv *c)
{
	int k = c->w.kh;

	return conv(t, x, c, 0, (x->h + 1 - k) / c->stride + 1, (x->w + 1 - k) / c->stride + 1);
}
