/* Linear layers with their adapters: forward and backward. */
#include "internal.h"
#include "ops.h"

static struct adapted adapted(const struct linear *l)
{
	return (struct adapted){ &l->w, l->bias, l->branch, NULL };
}

/* backward of y = x W^T + bias + adapters:  dx = dy W + adapters'.  W is frozen: no dW. */
static void linear_backward(struct tape *t, const struct node *n)
{
	const struct adapted a = adapted(n->op);

	adapted_backward(t, n->out, n->in[0], &a);
}

struct tensor *op_linear(struct tape *t, struct tensor *x, const struct linear *l)
{
	const struct adapted a = adapted(l);
	const bool trains = adapted_trains(&a);
	struct tensor *y;

	must(x->c == l->w.in, "linear: input width");
	if (!tape_reads_first(t, x))
		x->gate = NULL;                 /* which something else has read */
	y = tensor_inner(t, x->n, x->h, x->w, l->w.out);
	adapted_forward(t, y, x, &a);
	return tape_record(t, y, trains, (struct node){ linear_backward, .in = { x }, .reads = trains ? READS(0) : 0,
							.op = l });
}
