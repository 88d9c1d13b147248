/* Attention: forward and backward. */
#include <math.h>
#include "internal.h"
#include "ops.h"

struct attention_op {
	struct attention_shape shape;
};

/* backward of o = softmax(s q k^T) v a head; the scores are computed again from q, k and lse */
static void attention_backward(struct tape *t, const struct node *n)
{
	const struct attention_op *op = n->op;
	struct tensor *const *in = n->in;
	struct values grad[3];
	int i, add[3] = { 0 };

	for (i = 0; i < 3; i++)
		grad[i] = tape_grad(t, in[i], &add[i]);
	tape_backend(t)->attention_back(tape_device(t), grad[0], grad[1], grad[2], grad_of(n->out), data_of(n->out),
					n->out->beside, data_of(in[0]), data_of(in[1]), data_of(in[2]), &op->shape,
					add);
}

struct tensor *op_attention(struct tape *t, struct tensor *q, struct tensor *k, struct tensor *v, int heads,
			    bool causal)
{
	struct tensor *o = tensor_inner(t, q->n, q->h, q->w, v->c);
	struct attention_op op = { .shape = { .n = q->n, .heads = heads, .d = q->c / heads, .lq = q->h * q->w,
					      .lk = k->h * k->w, .ldq = q->c, .ldk = k->c, .ldv = v->c, .ldo = v->c,
					      .causal = causal } };
	float *lse = tensor_beside(t, o, (size_t)q->n * heads * op.shape.lq);

	must(q->c == k->c && k->c == v->c && q->c % heads == 0, "attention: width");
	must(q->n == k->n && k->n == v->n && k->h * k->w == v->h * v->w, "attention: length");
	op.shape.scale = 1 / sqrtf(op.shape.d);
	tape_backend(t)->attention(tape_device(t), data_of(o), lse, data_of(q), data_of(k), data_of(v), &op.shape);
	return tape_record(t, o, false, (struct node){ attention_backward, .in = { q, k, v },
						       .reads = READS_INPUTS | READS_OUT,
						       .op = tape_keep(t, &op, sizeof(op)) });
}
