/* Losses: forward and backward. */
#include "internal.h"
#include "ops.h"

struct mse_op {
	const float *target, *weight;   /* like x; [n] */
};

/* backward of loss[i] = weight[i] * mean((x - target)^2):  dx = dloss[i] * weight[i] * 2 (x - target) / count */
static void mse_backward(struct tape *t, const struct node *n)
{
	const struct mse_op *op = n->op;
	const struct tensor *x = n->in[0];
	int add = 0;
	float *dx = tape_grad(t, n->in[0], &add);

	tape_backend(t)->mse_back(tape_device(t), dx, n->out->grad, x->data, op->target, op->weight, x->n,
				  tensor_count(x) / x->n, add);
}

struct tensor *op_mse(struct tape *t, struct tensor *x, const struct tensor *target, const float *weight)
{
	struct mse_op op = { target->data, weight };
	struct tensor *y = tensor_new(t, x->n, 1, 1, 1);

	must(tensor_count(x) == tensor_count(target), "mse");
	tape_backend(t)->mse(tape_device(t), y->data, x->data, target->data, weight, x->n, tensor_count(x) / x->n);
	return tape_record(t, y, false, (struct node){ mse_backward, .in = { x }, .reads = READS(0),
						       .op = tape_keep(t, &op, sizeof(op)) });
}

struct loss_op {
	const float *target;            /* like x */
	struct loss_terms terms;
};

/* backward of loss[i] = weight[i] * mean(mask f(x - target)):  dx = dloss[i] * weight[i] * mask f'(x - target) /
 * count */
static void loss_backward(struct tape *t, const struct node *n)
{
	const struct loss_op *op = n->op;
	int add = 0;
	float *dx = tape_grad(t, n->in[0], &add);

	tape_backend(t)->loss_back(tape_device(t), dx, n->out->grad, n->in[0]->data, op->target, &op->terms, add);
}

struct tensor *op_loss(struct tape *t, struct tensor *x, const struct tensor *target, const struct loss_terms *terms)
{
	struct loss_op op = { target->data, *terms };
	struct tensor *y;

	if (terms->kind == LOSS_L2 && !terms->mask)
		return op_mse(t, x, target, terms->weight);
	must(tensor_count(x) == tensor_count(target), "loss");
	must(terms->c || terms->kind == LOSS_L2 || terms->kind == LOSS_L1, "loss: c");
	op.terms.n = x->n;
	op.terms.pixels = x->h * x->w;
	op.terms.channels = x->c;
	y = tensor_new(t, x->n, 1, 1, 1);
	tape_backend(t)->loss(tape_device(t), y->data, x->data, target->data, &op.terms);
	return tape_record(t, y, false, (struct node){ loss_backward, .in = { x }, .reads = READS(0),
						       .op = tape_keep(t, &op, sizeof(op)) });
}
