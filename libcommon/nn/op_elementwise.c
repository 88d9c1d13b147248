/* Elementwise operations, forward and backward: activations, GEGLU, sums, products. */
#include "internal.h"
#include "ops.h"

/* backward of y = f(x):  dx = f'(x) dy */
static void activation_backward(struct tape *t, const struct node *n)
{
	const enum activation *kind = n->op;
	int add = 0;
	const struct values dx = tape_grad(t, n->in[0], &add);

	tape_backend(t)->activation_back(tape_device(t), dx, grad_of(n->out), data_of(n->in[0]), tensor_count(n->out),
					 *kind, add);
}

static void activate(struct tape *t, const struct node *n)
{
	const enum activation *kind = n->op;

	tape_backend(t)->activation(tape_device(t), data_of(n->out), data_of(n->in[0]), tensor_count(n->out), *kind);
}

struct tensor *op_activation(struct tape *t, struct tensor *x, enum activation kind)
{
	const struct node n = { activation_backward, activate, tensor_inner(t, x->n, x->h, x->w, x->c), { x }, READS(0),
				tape_keep(t, &kind, sizeof(kind)) };

	activate(t, &n);
	return tape_record(t, n.out, false, n);
}

/* backward of y = a * gelu(b), x = [a b]:  da = dy gelu(b);  db = dy a gelu'(b) */
static void geglu_backward(struct tape *t, const struct node *n)
{
	const struct values x = data_of(n->in[0]);
	int add = 0;
	const struct values dx = tape_grad_over(t, n->in[0], &add);

	tape_backend(t)->geglu_back(tape_device(t), dx, grad_of(n->out), x, tensor_rows(n->out), n->out->c, add);
}

static void geglu(struct tape *t, const struct node *n)
{
	tape_backend(t)->geglu(tape_device(t), data_of(n->out), data_of(n->in[0]), tensor_rows(n->out), n->out->c);
}

struct node geglu_node(struct tape *t, struct tensor *x)
{
	struct tensor *y;

	must(x->c % 2 == 0, "geglu: width");
	y = tensor_inner(t, x->n, x->h, x->w, x->c / 2);
	y->gate = x;
	return (struct node){ geglu_backward, geglu, y, { x }, READS(0) };
}

struct tensor *op_geglu(struct tape *t, struct tensor *x)
{
	const struct node n = geglu_node(t, x);

	geglu(t, &n);
	return tape_record(t, n.out, false, n);
}

/* backward of y = a + b */
static void add_backward(struct tape *t, const struct node *n)
{
	tape_copy_grad(t, n->in[1], n->out);
	tape_hand_grad(t, n->in[0], n->out);
}

struct node add_node(struct tensor *a, struct tensor *b)
{
	return (struct node){ add_backward, .in = { a, b } };
}

struct tensor *sum_of(struct tape *t, struct tensor *a, struct tensor *b)
{
	struct tensor *y = a == b || b->type != DTYPE_F32 ? NULL : tensor_over(t, b);

	must(tensor_count(a) == tensor_count(b) && a->c == b->c, "add");
	if (!y)
		y = tensor_new(t, a->n, a->h, a->w, a->c);
	y->term = a == b ? NULL : b;
	return y;
}

struct tensor *op_add(struct tape *t, struct tensor *a, struct tensor *b)
{
	const struct values z = data_of(b);             /* the sum may take it over */
	struct tensor *y = sum_of(t, a, b);

	tape_backend(t)->add(tape_device(t), data_of(y), data_of(a), z, tensor_count(y));
	return tape_record(t, y, false, add_node(a, b));
}

/* backward of y[n,h,w,c] = x[n,h,w,c] + v[n,c]:  dv = sum over h, w of dy */
static void add_per_sample_backward(struct tape *t, const struct node *n)
{
	struct tensor *v = n->in[1], *y = n->out;
	int add = 0;
	const struct values dv = tape_grad(t, v, &add);

	if (dv.at)
		tape_backend(t)->sum_per_sample(tape_device(t), dv, grad_of(y), y->n, y->h * y->w, y->c, add);
	tape_hand_grad(t, n->in[0], n->out);
}

struct tensor *op_add_per_sample(struct tape *t, struct tensor *x, struct tensor *v)
{
	struct tensor *y = tensor_inner(t, x->n, x->h, x->w, x->c);

	must(v->n == x->n && v->c == x->c && v->h * v->w == 1, "add per sample");
	tape_backend(t)->add_per_sample(tape_device(t), data_of(y), data_of(x), data_of(v), x->n, x->h * x->w, x->c);
	return tape_record(t, y, false, (struct node){ add_per_sample_backward, .in = { x, v } });
}

/* backward of y[n] = x[n] + positions (frozen) */
static void add_positions_backward(struct tape *t, const struct node *n)
{
	tape_hand_grad(t, n->in[0], n->out);
}

struct tensor *op_add_positions(struct tape *t, struct tensor *x, const float *positions)
{
	struct tensor *y = tensor_new(t, x->n, x->h, x->w, x->c);
	size_t each = tensor_count(x) / x->n;
	int i;

	for (i = 0; i < x->n; i++)
		tape_backend(t)->add(tape_device(t), values_from(data_of(y), i * each),
				      values_from(data_of(x), i * each), f32(positions), each);
	return tape_record(t, y, false, (struct node){ add_positions_backward, .in = { x } });
}

/* backward of y = x z (z frozen):  dx = dy z */
static void multiply_backward(struct tape *t, const struct node *n)
{
	const float *const *z = n->op;
	struct tensor *y = n->out;
	int add = 0;
	const struct values dx = tape_grad(t, n->in[0], &add), to = add ? f32(tape_scratch(t, tensor_count(y))) : dx;

	tape_backend(t)->multiply(tape_device(t), to, grad_of(y), f32(*z), tensor_rows(y), y->c, false);
	if (!add)
		return;
	tape_backend(t)->add(tape_device(t), dx, dx, to, tensor_count(y));
	tape_scratch_give(t, to.at);
}

struct tensor *op_multiply(struct tape *t, struct tensor *x, const float *z)
{
	struct tensor *y = tensor_new(t, x->n, x->h, x->w, x->c);

	tape_backend(t)->multiply(tape_device(t), data_of(y), data_of(x), f32(z), tensor_rows(x), x->c, false);
	return tape_record(t, y, false, (struct node){ multiply_backward, .in = { x },
						       .op = tape_keep(t, &z, sizeof(z)) });
}
