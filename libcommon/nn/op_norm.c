/* Group norm and layer norm: forward and backward. */
#include "internal.h"
#include "ops.h"

struct norm_op {
	const struct norm *layer;
	struct norm_shape shape;
	bool first;                     /* of layer norms: no operation has read x before */
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
	be->axpby(tape_device(t), f32(gain), 1, f32(g->gain), 0, g->c);
	be->axpby(tape_device(t), f32(bias), 1, f32(g->bias), 0, g->c);
	for (const struct branch *b = g->branch; b; b = b->next) {
		if (b->part[0].n)
			be->axpby(tape_device(t), f32(gain), b->scale, f32(b->part[0].data), 1, g->c);
		if (b->bias)
			be->axpby(tape_device(t), f32(bias), 1, f32(b->bias), 1, g->c);
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
	const struct values x = data_of(n->in[0]);
	int add = 0;
	const struct values dx = tape_grad_over(t, n->in[0], &add);
	const struct scaling s = begin(t, op->layer);

	tape_backend(t)->group_norm_back(tape_device(t), dx, grad_of(n->out), x, n->out->beside, s.gain, s.bias,
					 &op->shape, add);
	end(t, &s);
}

static void group_norm(struct tape *t, const struct node *n)
{
	const struct norm_op *op = n->op;
	const struct scaling s = begin(t, op->layer);

	tape_backend(t)->group_norm(tape_device(t), data_of(n->out), n->out->beside, data_of(n->in[0]), s.gain, s.bias,
				    &op->shape);
	end(t, &s);
}

struct tensor *op_group_norm(struct tape *t, struct tensor *x, const struct norm *g, bool silu)
{
	const struct norm_op op = { g, { x->n, x->h * x->w, x->c, g->groups, g->eps, silu } };
	const struct node n = { group_norm_backward, group_norm, tensor_inner(t, x->n, x->h, x->w, x->c), { x },
				READS(0) | READS_BESIDE, tape_keep(t, &op, sizeof(op)) };

	must(x->c == g->c && x->c % g->groups == 0, "group norm: channels");
	tensor_beside(t, n.out, (size_t)2 * x->n * g->groups);
	group_norm(t, &n);
	return tape_record(t, n.out, false, n);
}

/* backward of y = gain * (x - mean) * rstd + bias, mean and rstd over a row; and of x = a + b:  db = dx */
static void layer_norm_backward(struct tape *t, const struct node *n)
{
	const struct norm_op *op = n->op;
	const struct values dy = grad_of(n->out);               /* db's memory may be dy's */
	int add = 0;
	const struct values dx = tape_grad(t, n->in[0], &add);
	const struct values db = op->first ? tape_term_grad(t, n->in[0], n->out) : f32(NULL);
	const struct scaling s = begin(t, op->layer);

	tape_backend(t)->layer_norm_back(tape_device(t), dx, db, dy, data_of(n->in[0]), n->out->beside, s.gain,
					 tensor_rows(n->out), n->out->c, add);
	end(t, &s);
}

/* sum NULL: of x alone */
static void run_layer_norm(struct tape *t, const struct node *n, float *sum, struct values x, struct values z)
{
	const struct norm_op *op = n->op;
	const struct tensor *y = n->out;
	const struct scaling s = begin(t, op->layer);

	tape_backend(t)->layer_norm(tape_device(t), data_of(y), y->beside, sum, x, z, s.gain, s.bias,
				    tensor_rows(y), y->c, op->layer->eps);
	end(t, &s);
}

static void layer_norm(struct tape *t, const struct node *n)
{
	run_layer_norm(t, n, NULL, data_of(n->in[0]), f32(NULL));
}

static struct node layer_norm_node(struct tape *t, struct tensor *y, struct tensor *x, const struct norm *g,
				   bool first)
{
	const struct norm_op op = { .layer = g, .first = first };

	must(x->c == g->c, "layer norm: width");
	tensor_beside(t, y, (size_t)2 * tensor_rows(x));
	return (struct node){ layer_norm_backward, layer_norm, y, { x }, READS(0) | READS_BESIDE,
			      tape_keep(t, &op, sizeof(op)), .slight = true };
}

struct tensor *op_layer_norm(struct tape *t, struct tensor *x, const struct norm *g)
{
	const struct node n = layer_norm_node(t, tensor_inner(t, x->n, x->h, x->w, x->c), x, g,
					       tape_reads_first(t, x));

	layer_norm(t, &n);
	return tape_record(t, n.out, false, n);
}

/* Two operations for the tape, whose results are there before it frees a and b. */
struct tensor *op_add_norm(struct tape *t, struct tensor *a, struct tensor *b, const struct norm *g,
			   struct tensor **sum)
{
	const struct values x = data_of(a), z = data_of(b);     /* b's memory may be taken over */
	struct tensor *s = sum_of(t, a, b);
	const struct node n = layer_norm_node(t, tensor_inner_over(t, b), s, g, true);

	run_layer_norm(t, &n, floats_at(data_of(s)), x, z);
	*sum = tape_record(t, s, false, add_node(a, b));
	return tape_record(t, n.out, false, n);
}
