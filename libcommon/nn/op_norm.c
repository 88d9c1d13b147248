/* Group norm and layer norm: forward and backward. */
#include "internal.h"
#include "ops.h"

struct norm_op {
	const struct norm *layer;
	struct norm_shape shape;
};

/* Gain and bias with what adapters add to them: in scratch, or the layer's own where none does. */
struct scaling { const float *gain, *bias; float *scratch; };

static struct scaling begin(struct tape *t, const struct norm *g)
{
	const struct backend *be = tape_backend(t);
	struct scaling s = { g->gain, g->bias, g->branch ? tape_scratch(t, (size_t)2 * g->c) : NULL };
	float *gain = s.scratch, *bias;

	if (!g->branch)
		return s;
	bias = gain + g->c;
	be->axpby(tape_device(t), gain, 1, g->gain, 0, g->c);
	be->axpby(tape_device(t), bias, 1, g->bias, 0, g->c);
	for (const struct branch *b = g->branch; b; b = b->next) {
		if (b->part[0].n)
			be->axpby(tape_device(t), gain, b->scale, b->part[0].data, 1, g->c);
		if (b->bias)
			be->axpby(tape_device(t), bias, 1, b->bias, 1, g->c);
	}
	return (struct scaling){ gain, bias, s.scratch };
}

static void end(struct tape *t, const struct scaling *s)
{
	if (s->scratch)
		tape_scratch_give(t, s->scratch);
}

/* backward of y = silu?(gain * (x - mean) * rstd + bias), mean and rstd over a group */
static void group_norm_backward(struct tape *t, const struct node *n)
{
	const struct norm_op *op = n->op;
	int add = 0;
	float *dx = tape_grad(t, n->in[0], &add);
	const struct scaling s = begin(t, op->layer);

	tape_backend(t)->group_norm_back(tape_device(t), dx, n->out->grad, n->in[0]->data, n->out->beside, s.gain,
					 s.bias, &op->shape, add);
	end(t, &s);
}

struct tensor *op_group_norm(struct tape *t, struct tensor *x, const struct norm *g, bool silu)
{
	struct norm_op op = { g, { x->n, x->h * x->w, x->c, g->groups, g->eps, silu } };
	struct tensor *y = tensor_new(t, x->n, x->h, x->w, x->c);
	float *stats = tensor_beside(t, y, (size_t)2 * x->n * g->groups);
	struct scaling s;

	must(x->c == g->c && x->c % g->groups == 0, "group norm: channels");
	s = begin(t, g);
	tape_backend(t)->group_norm(tape_device(t), y->data, stats, x->data, s.gain, s.bias, &op.shape);
	end(t, &s);
	return tape_record(t, y, false, (struct node){ group_norm_backward, .in = { x },
						       .reads = READS(0) | READS_BESIDE,
						       .op = tape_keep(t, &op, sizeof(op)) });
}

/* backward of y = gain * (x - mean) * rstd + bias, mean and rstd over a row */
static void layer_norm_backward(struct tape *t, const struct node *n)
{
	const struct norm_op *op = n->op;
	int add = 0;
	float *dx = tape_grad(t, n->in[0], &add);
	const struct scaling s = begin(t, op->layer);

	tape_backend(t)->layer_norm_back(tape_device(t), dx, n->out->grad, n->in[0]->data, n->out->beside, s.gain,
					 tensor_rows(n->out), n->out->c, add);
	end(t, &s);
}

struct tensor *op_layer_norm(struct tape *t, struct tensor *x, const struct norm *g)
{
	struct norm_op op = { .layer = g };
	struct tensor *y = tensor_new(t, x->n, x->h, x->w, x->c);
	float *stats = tensor_beside(t, y, (size_t)2 * tensor_rows(x));
	struct scaling s;

	must(x->c == g->c, "layer norm: width");
	s = begin(t, g);
	tape_backend(t)->layer_norm(tape_device(t), y->data, stats, x->data, s.gain, s.bias, tensor_rows(x), x->c,
				    g->eps);
	end(t, &s);
	return tape_record(t, y, false, (struct node){ layer_norm_backward, .in = { x },
						       .reads = READS(0) | READS_BESIDE,
						       .op = tape_keep(t, &op, sizeof(op)) });
}
