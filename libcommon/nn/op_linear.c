#include "internal.h"
#include "ops.h"

static bool any_trains(const struct lora *l)
{
	for (; l; l = l->next)
		if (l->down.wants_grad || l->up.wants_grad)
			return true;
	return false;
}

/* y += s z up^T,  z = x down^T;  x [rows,in], down [r,in], up [out,r] */
static void add_lora(struct tape *t, struct tensor *y, const struct tensor *x, const struct lora *l)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	int rows = tensor_rows(x), r = l->rank;
	float *z = tape_scratch(t, (size_t)rows * r);

	be->gemm(d, 0, 1, rows, r, x->c, 1, x->data, x->c, l->down.data, x->c, 0, z, r);
	lora_leave_out(t, l, z, x->n, rows / x->n);
	be->gemm(d, 0, 1, rows, y->c, r, l->scale, z, r, l->up.data, r, 1, y->data, y->c);
	tape_scratch_give(t, z);
}

/* inverts y += s z up^T:  dup += s dy^T z;  dz = s dy up;  ddown += dz^T x;  dx += dz down.  z is computed again: cheaper than kept. */
static void lora_backward(struct tape *t, const float *dy, int out, const struct tensor *x, float *dx, struct lora *l)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	int rows = tensor_rows(x), in = x->c, r = l->rank, add_up = 0, add_down = 0;
	float *dup = tape_grad(t, &l->up, &add_up), *ddown = tape_grad(t, &l->down, &add_down);
	float *z = tape_scratch(t, (size_t)rows * r), *dz = tape_scratch(t, (size_t)rows * r);

	if (dup) {
		be->gemm(d, 0, 1, rows, r, in, 1, x->data, in, l->down.data, in, 0, z, r);
		lora_leave_out(t, l, z, x->n, rows / x->n);
		be->gemm(d, 1, 0, out, r, rows, l->scale, dy, out, z, r, add_up, dup, r);
	}
	be->gemm(d, 0, 0, rows, r, out, l->scale, dy, out, l->up.data, r, 0, dz, r);
	lora_leave_out(t, l, dz, x->n, rows / x->n);
	if (ddown)
		be->gemm(d, 1, 0, r, in, rows, 1, dz, r, x->data, in, add_down, ddown, in);
	if (dx)
		be->gemm(d, 0, 0, rows, in, r, 1, dz, r, l->down.data, in, 1, dx, in);
	tape_scratch_give(t, dz);
	tape_scratch_give(t, z);
}

/* inverts y = x W^T + bias + adapters:  dx = dy W + adapters'.  W is frozen: no dW. */
static void linear_backward(struct tape *t, const struct node *n)
{
	const struct linear *l = n->op;
	struct tensor *x = n->in[0];
	struct lora *a;
	int add = 0;
	float *dx = tape_grad(t, x, &add);

	if (dx)
		tape_backend(t)->linear_dx(tape_device(t), dx, n->out->grad, &l->w, tensor_rows(x), add);
	for (a = l->lora; a; a = a->next)
		if (!lora_is_out(a))
			lora_backward(t, n->out->grad, l->w.out, x, dx, a);
}

struct tensor *op_linear(struct tape *t, struct tensor *x, const struct linear *l)
{
	const bool trains = any_trains(l->lora);
	struct tensor *y;
	const struct lora *a;

	must(x->c == l->w.in, "linear: input width");
	y = tensor_new(t, x->n, x->h, x->w, l->w.out);
	tape_backend(t)->linear(tape_device(t), y->data, x->data, &l->w, l->bias, tensor_rows(x));
	for (a = l->lora; a; a = a->next)
		if (!lora_is_out(a))
			add_lora(t, y, x, a);
	return tape_record(t, y, trains, (struct node){ linear_backward, .in = { x }, .reads = trains ? READS(0) : 0, .op = l });
}
