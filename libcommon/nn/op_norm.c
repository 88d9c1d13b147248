/* Group norm and layer norm: forward and backward. */
#include "internal.h"
#include "ops.h"

struct norm_op {
	const struct norm *layer;
	struct norm_shape shape;
};

/* backward of y = silu?(gain * (x - mean) * rstd + bias), mean and rstd over a group */
static void group_norm_backward(struct tape *t, const struct node *n)
{
	const struct norm_op *op = n->op;
	int add = 0;
	float *dx = tape_grad(t, n->in[0], &add);

	tape_backend(t)->group_norm_back(tape_device(t), dx, n->out->grad, n->in[0]->data, n->out->beside,
					 op->layer->gain, op->layer->bias, &op->shape, add);
}

struct tensor *op_group_norm(struct tape *t, struct tensor *x, const struct norm *g, bool silu)
{
	struct norm_op op = { g, { x->n, x->h * x->w, x->c, g->groups, g->eps, silu } };
	struct tensor *y = tensor_new(t, x->n, x->h, x->w, x->c);
	float *stats = tensor_beside(t, y, (size_t)2 * x->n * g->groups);

	must(x->c == g->c && x->c % g->groups == 0, "group norm: channels");
	tape_backend(t)->group_norm(tape_device(t), y->data, stats, x->data, g->gain, g->bias, &op.shape);
	return tape_record(t, y, false, (struct node){ group_norm_backward, .in = { x }, .reads = READS(0),
						       .op = tape_keep(t, &op, sizeof(op)) });
}

/* backward of y = gain * (x - mean) * rstd + bias, mean and rstd over a row */
static void layer_norm_backward(struct tape *t, const struct node *n)
{
	const struct norm_op *op = n->op;
	int add = 0;
	float *dx = tape_grad(t, n->in[0], &add);

	tape_backend(t)->layer_norm_back(tape_device(t), dx, n->out->grad, n->in[0]->data, n->out->beside,
					 op->layer->gain, tensor_rows(n->out), n->out->c, add);
}

struct tensor *op_layer_norm(struct tape *t, struct tensor *x, const struct norm *g)
{
	struct norm_op op = { .layer = g };
	struct tensor *y = tensor_new(t, x->n, x->h, x->w, x->c);
	float *stats = tensor_beside(t, y, (size_t)2 * tensor_rows(x));

	must(x->c == g->c, "layer norm: width");
	tape_backend(t)->layer_norm(tape_device(t), y->data, stats, x->data, g->gain, g->bias, tensor_rows(x), x->c,
				    g->eps);
	return tape_record(t, y, false, (struct node){ layer_norm_backward, .in = { x }, .reads = READS(0),
						       .op = tape_keep(t, &op, sizeof(op)) });
}
