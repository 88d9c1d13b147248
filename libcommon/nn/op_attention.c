/* Attention: forward and backward. */
#include <math.h>
#include "internal.h"
#include "ops.h"

/* of: queries, keys and values; those in one tensor share their node's input */
struct attention_op { struct attention_shape shape; struct slice of[3]; };

static struct values data_at(const struct slice *c)
{
	return values_from(data_of(c->of), c->at);
}

/* The first of the three that is in the same tensor. */
static int first_in(const struct slice *of, int i)
{
	for (int k = 0; k < i; k++)
		if (of[k].of == of[i].of)
			return k;
	return i;
}

/* Together they are all columns of their tensors: backward writes a gradient by columns, and others would hold
 * anything. */
static bool are_whole(const struct slice *of)
{
	for (int i = 0; i < 3; i++) {
		int columns = 0;

		for (int k = 0; k < 3; k++) {
			bool again = false;

			for (int j = 0; j < k; j++)
				again |= of[j].of == of[k].of && of[j].at == of[k].at;
			columns += of[k].of == of[i].of && !again ? of[k].c : 0;
		}
		if (columns != of[i].of->c)
			return false;
	}
	return true;
}

/* Where the gradients of all three go.  Columns that were there before are added to; others of the same tensor have
 * nothing in them yet, if the tensor had not. */
static void grads_of(struct tape *t, const struct slice *of, struct values grad[3], int add[3])
{
	for (int i = 0; i < 3; i++) {
		const int first = first_in(of, i);

		if (first == i) {
			grad[i] = tape_grad(t, of[i].of, &add[i]);
			continue;
		}
		grad[i] = grad_of(of[first].of);
		add[i] = add[first];
		for (int k = first; k < i; k++)
			if (of[k].of == of[i].of && of[k].at == of[i].at)
				add[i] = 1;
	}
	for (int i = 0; i < 3; i++)
		if (grad[i].at)
			grad[i] = values_from(grad[i], of[i].at);
}

/* backward of o = softmax(s q k^T) v a head; the scores are computed again from q, k and lse */
static void attention_backward(struct tape *t, const struct node *n)
{
	const struct attention_op *op = n->op;
	struct values grad[3];
	int add[3] = { 0 };

	grads_of(t, op->of, grad, add);
	tape_backend(t)->attention_back(tape_device(t), grad[0], grad[1], grad[2], grad_of(n->out), data_of(n->out),
					n->out->beside, data_at(&op->of[0]), data_at(&op->of[1]), data_at(&op->of[2]),
					&op->shape, add);
}

struct tensor *op_attention(struct tape *t, struct slice q, struct slice k, struct slice v, int heads,
			    bool causal)
{
	struct tensor *o = tensor_inner(t, q.of->n, q.of->h, q.of->w, v.c);
	struct attention_op op = { .shape = { .n = q.of->n, .heads = heads, .d = q.c / heads, .lq = q.of->h * q.of->w,
					      .lk = k.of->h * k.of->w, .ldq = q.of->c, .ldk = k.of->c, .ldv = v.of->c,
					      .ldo = v.c, .causal = causal }, .of = { q, k, v } };
	float *lse = tensor_beside(t, o, (size_t)q.of->n * heads * op.shape.lq);
	struct node n = { attention_backward, .reads = READS_INPUTS | READS_OUT };

	must(q.c == k.c && k.c == v.c && q.c % heads == 0, "attention: width");
	must(q.of->n == k.of->n && k.of->n == v.of->n && k.of->h * k.of->w == v.of->h * v.of->w, "attention: length");
	must(are_whole(op.of), "attention: columns");
	op.shape.scale = 1 / sqrtf(op.shape.d);
	tape_backend(t)->attention(tape_device(t), data_of(o), lse, data_at(&q), data_at(&k), data_at(&v), &op.shape);
	for (int i = 0; i < 3; i++)
		n.in[i] = first_in(op.of, i) == i ? op.of[i].of : NULL;
	n.op = tape_keep(t, &op, sizeof(op));
	return tape_record(t, o, false, n);
}
