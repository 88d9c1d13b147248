/* Convolution with its adapters: forward and backward. */
#include "internal.h"
#include "ops.h"

struct conv_op {
	const struct conv *layer;
	struct conv_shape shape;
};

static struct adapted adapted(const struct conv_op *op)
{
	return (struct adapted){ &op->layer->w, op->layer->bias, op->layer->branch, &op->shape };
}

/* backward of y = conv(x, W) + bias + adapters:  dx = conv'(dy, W) + adapters' */
static void conv_backward(struct tape *t, const struct node *n)
{
	const struct adapted a = adapted(n->op);

	adapted_backward(t, n->out, n->in[0], &a);
}

typedef struct tensor *new_fn(struct tape *t, int n, int h, int w, int c);

static struct tensor *conv(struct tape *t, new_fn *make, struct tensor *x, const struct conv *c, int pad, int end)
{
	const int oh = (x->h + pad + end - c->w.kh) / c->stride + 1, ow = (x->w + pad + end - c->w.kh) / c->stride + 1;
	const struct conv_op op = { c, { x->n, x->h, x->w, oh, ow, c->stride, pad } };
	const struct adapted a = adapted(&op);
	const bool trains = adapted_trains(&a);
	struct tensor *y;

	must(x->c == c->w.in, "conv: input channels");
	y = make(t, x->n, oh, ow, c->w.out);
	adapted_forward(t, y, x, &a);
	return tape_record(t, y, trains, (struct node){ conv_backward, .in = { x }, .reads = trains ? READS(0) : 0,
							.op = tape_keep(t, &op, sizeof(op)) });
}

struct tensor *op_conv(struct tape *t, struct tensor *x, const struct conv *c)
{
	return conv(t, tensor_new, x, c, c->w.kh / 2, c->w.kh / 2);
}

struct tensor *op_conv_inner(struct tape *t, struct tensor *x, const struct conv *c)
{
	return conv(t, tensor_inner, x, c, c->w.kh / 2, c->w.kh / 2);
}

struct tensor *op_conv_pad_end(struct tape *t, struct tensor *x, const struct conv *c)
{
	return conv(t, tensor_new, x, c, 0, 1);
}
