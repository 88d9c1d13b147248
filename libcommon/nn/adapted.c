#include "internal.h"

static bool any_trains(const struct lora *l)
{
	for (; l; l = l->next)
		if (l->down.wants_grad || l->up.wants_grad || l->magnitude.wants_grad)
			return true;
	return false;
}

/* y = x W^T + bias, or conv(x, W) + bias */
static void base_product(struct tape *t, float *y, const struct tensor *x, const struct adapted *a, const float *bias)
{
	if (a->shape)
		tape_backend(t)->conv2d(tape_device(t), y, x->data, a->w, bias, a->shape);
	else
		tape_backend(t)->linear(tape_device(t), y, x->data, a->w, bias, tensor_rows(x));
}

/* inverts y = x W^T:  dx = dy W */
static void base_back(struct tape *t, float *dx, const float *dy, const struct tensor *x, const struct adapted *a, int add)
{
	if (a->shape)
		tape_backend(t)->conv2d_dx(tape_device(t), dx, dy, a->w, a->shape, add);
	else
		tape_backend(t)->linear_dx(tape_device(t), dx, dy, a->w, tensor_rows(x), add);
}

static struct weight filters(const struct lora *l)
{
	return (struct weight){ .data = l->down.data, .dtype = DTYPE_F32, .out = l->rank, .in = l->down.c, .kh = l->down.h,
				.kw = l->down.w };
}

/* z [rows,rank] = x down^T, or conv(x, down) with down [rank,kh,kw,in], less what is left out */
static void down_product(struct tape *t, float *z, const struct tensor *y, const struct tensor *x, const struct lora *l,
			 const struct adapted *a)
{
	const struct weight down = filters(l);

	if (a->shape)
		tape_backend(t)->conv2d(tape_device(t), z, x->data, &down, NULL, a->shape);
	else
		tape_backend(t)->gemm(tape_device(t), 0, 1, tensor_rows(x), l->rank, x->c, 1, x->data, x->c, l->down.data, x->c, 0, z,
				      l->rank);
	lora_leave_out(t, l, z, y->n, tensor_rows(y) / y->n);
}

/* inverts z = x down^T:  ddown += dz^T x;  dx += dz down */
static void down_back(struct tape *t, const float *dz, const struct tensor *x, float *ddown, int add, float *dx, const struct lora *l,
		      const struct adapted *a)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const struct weight down = filters(l);
	const int rows = tensor_rows(x), in = x->c, r = l->rank;

	if (ddown && a->shape)
		be->conv2d_dw(d, ddown, x->data, dz, r, in, down.kh, down.kw, a->shape, add);
	else if (ddown)
		be->gemm(d, 1, 0, r, in, rows, 1, dz, r, x->data, in, add, ddown, in);
	if (dx && a->shape)
		be->conv2d_dx(d, dx, dz, &down, a->shape, 1);
	else if (dx)
		be->gemm(d, 0, 0, rows, in, r, 1, dz, r, l->down.data, in, 1, dx, in);
}

/* y += s z up^T;  up [out,rank].  DoRA: up is gain * up, and lies there transposed. */
static void add_lora(struct tape *t, struct tensor *y, const struct tensor *x, const struct lora *l, const struct dora *k,
		     const struct adapted *a)
{
	const struct backend *be = tape_backend(t);
	const int rows = tensor_rows(y), r = l->rank;
	float *z = tape_scratch(t, (size_t)rows * r);

	down_product(t, z, y, x, l, a);
	if (k)
		be->gemm(tape_device(t), 0, 0, rows, y->c, r, l->scale * l->weight, z, r, k->up, y->c, 1, y->data, y->c);
	else
		be->gemm(tape_device(t), 0, 1, rows, y->c, r, l->scale, z, r, l->up.data, r, 1, y->data, y->c);
	tape_scratch_give(t, z);
}

/* y += weight (W (gain x - x) + s down (gain x) up), where x's channels are scaled: a DoRA of columns */
static void add_by_columns(struct tape *t, struct tensor *y, const struct tensor *x, const struct lora *l, const struct adapted *a)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const int rows = tensor_rows(y), r = l->rank;
	struct tensor scaled = *x;
	float *v = tape_scratch(t, tensor_count(y)), *z = tape_scratch(t, (size_t)rows * r);

	scaled.data = tape_scratch(t, tensor_count(x));
	be->multiply(d, scaled.data, x->data, l->column_gain, tensor_rows(x), x->c, true);
	base_product(t, v, &scaled, a, NULL);
	be->multiply(d, scaled.data, x->data, l->column_gain + x->c, tensor_rows(x), x->c, true);
	down_product(t, z, y, &scaled, l, a);
	be->gemm(d, 0, 1, rows, y->c, r, l->scale, z, r, l->up.data, r, 1, v, y->c);
	be->axpby(d, y->data, l->weight, v, 1, tensor_count(y));
	tape_scratch_give(t, scaled.data);
	tape_scratch_give(t, z);
	tape_scratch_give(t, v);
}

void adapted_forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct adapted *a)
{
	const struct backend *be = tape_backend(t);
	struct doras *k = doras_now(t, a);

	base_product(t, y->data, x, a, k ? NULL : a->bias);
	if (k)
		be->multiply(tape_device(t), y->data, y->data, doras_factor(k), tensor_rows(y), y->c, true);
	for (const struct lora *l = a->lora; l; l = l->next)
		if (l->column_gain)
			add_by_columns(t, y, x, l, a);
		else if (!lora_is_out(l))
			add_lora(t, y, x, l, dora_of(k, l), a);
	if (k && a->bias)
		be->add_per_sample(tape_device(t), y->data, y->data, a->bias, 1, tensor_rows(y), y->c);
	doras_give(t, k);
}

/* inverts y = weight gain (W x + scale z up^T), where gain = magnitude / norm and the norm counts as a constant:
 * dmagnitude += weight / norm * sum over rows of dy (W x + scale z up^T).  W x is computed again: cheaper than kept.  room [rows,out] */
static void magnitude_back(struct tape *t, float *dm, int add, const struct tensor *y, const struct tensor *x, const float *z,
			   const struct lora *l, const struct dora *k, const struct adapted *a, float *room)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const int rows = tensor_rows(y), out = y->c;
	float *sum = tape_scratch(t, out);

	base_product(t, room, x, a, NULL);
	be->gemm(d, 0, 1, rows, out, l->rank, l->scale, z, l->rank, l->up.data, l->rank, 1, room, out);
	be->multiply(d, room, room, y->grad, rows, out, false);
	be->sum_per_sample(d, sum, room, 1, rows, out, 0);
	be->over_root(d, dm, l->weight, sum, k->norm2, DORA_EPS, add, out);
	tape_scratch_give(t, sum);
}

/* inverts y += s z up^T:  dup += s dy^T z;  dz = s dy up.  z is computed again: cheaper than kept.  DoRA: dy is gain * dy;
 * room [rows,out] */
static void lora_backward(struct tape *t, const struct tensor *y, const struct tensor *x, float *dx, struct lora *l, const struct dora *k,
			  const struct adapted *a, float *room)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const float s = k ? l->scale * l->weight : l->scale, *dy = y->grad;
	int rows = tensor_rows(y), out = y->c, r = l->rank, add_up = 0, add_down = 0, add_m = 0;
	float *dup = tape_grad(t, &l->up, &add_up), *ddown = tape_grad(t, &l->down, &add_down), *dm = tape_grad(t, &l->magnitude, &add_m);
	float *z = tape_scratch(t, (size_t)rows * r), *dz = tape_scratch(t, (size_t)rows * r);

	if (k)
		be->multiply(d, room, dy, k->gain, rows, out, true);
	if (dup || dm)
		down_product(t, z, y, x, l, a);
	if (dup)
		be->gemm(d, 1, 0, out, r, rows, s, k ? room : dy, out, z, r, add_up, dup, r);
	be->gemm(d, 0, 0, rows, r, out, s, k ? room : dy, out, l->up.data, r, 0, dz, r);
	lora_leave_out(t, l, dz, y->n, rows / y->n);
	down_back(t, dz, x, ddown, add_down, dx, l, a);
	if (dm)
		magnitude_back(t, dm, add_m, y, x, z, l, k, a, room);
	tape_scratch_give(t, dz);
	tape_scratch_give(t, z);
}

/* inverts y += weight (W (gain x - x) + s down (gain x) up):  dx += weight ((gain - 1) (dy W) + gain (s dy up down)) */
static void columns_backward(struct tape *t, const struct tensor *y, const struct tensor *x, float *dx, const struct lora *l,
			     const struct adapted *a)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const int rows = tensor_rows(y), r = l->rank;
	float *part = tape_scratch(t, tensor_count(x)), *dz = tape_scratch(t, (size_t)rows * r);

	base_back(t, part, y->grad, x, a, 0);
	be->multiply(d, part, part, l->column_gain, tensor_rows(x), x->c, true);
	be->axpby(d, dx, l->weight, part, 1, tensor_count(x));
	be->gemm(d, 0, 0, rows, r, y->c, l->scale, y->grad, y->c, l->up.data, r, 0, dz, r);
	be->zero(d, part, tensor_count(x));
	down_back(t, dz, x, NULL, 0, part, l, a);
	be->multiply(d, part, part, l->column_gain + x->c, tensor_rows(x), x->c, true);
	be->axpby(d, dx, l->weight, part, 1, tensor_count(x));
	tape_scratch_give(t, dz);
	tape_scratch_give(t, part);
}

void adapted_backward(struct tape *t, const struct tensor *y, struct tensor *x, const struct adapted *a)
{
	struct doras *k = NULL;
	float *room = NULL;
	int add = 0;
	float *dx = tape_grad(t, x, &add);

	if ((k = doras_now(t, a))) {
		room = tape_scratch(t, tensor_count(y));
		tape_backend(t)->multiply(tape_device(t), room, y->grad, doras_factor(k), tensor_rows(y), y->c, true);
	}
	if (dx)
		base_back(t, dx, k ? room : y->grad, x, a, add);
	for (struct lora *l = a->lora; l; l = l->next)
		if (l->column_gain && dx)
			columns_backward(t, y, x, dx, l, a);
		else if (!l->column_gain && !lora_is_out(l))
			lora_backward(t, y, x, dx, l, dora_of(k, l), a, room);
	if (k)
		tape_scratch_give(t, room);
	doras_give(t, k);
}

bool adapted_trains(const struct adapted *a)
{
	return any_trains(a->lora);
}
