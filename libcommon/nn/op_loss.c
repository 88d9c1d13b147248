/* Losses: forward and backward. */
#include "internal.h"
#include "ops.h"

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
	const struct values dx = tape_grad(t, n->in[0], &add);

	tape_backend(t)->loss_back(tape_device(t), floats_at(dx), n->out->grad, n->in[0]->data, op->target, &op->terms,
				   add);
}

struct tensor *op_loss(struct tape *t, struct tensor *x, const struct tensor *target, const struct loss_terms *terms)
{
	struct loss_op op = { target->data, *terms };
	struct tensor *y;

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
