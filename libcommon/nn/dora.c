/* dora.c - DoRA: rows of W + scale up down, brought to lengths of their own.  W' = magnitude / |W + scale up down| (W + scale up down). */
#include <stdlib.h>
#include "../base/memory.h"
#include "internal.h"

struct doras {
	size_t count;
	float *factor;                  /* [out]: what W x is multiplied with; 1 + sum of weight (gain - 1) */
	struct dora dora[];
};

size_t dora_norms_room(const struct lora *l)
{
	return (size_t)l->rank * (2 * (size_t)l->up.n + l->rank);
}

/* t [rank,out] = down W^T.  A filter is a picture of its own size, so its product with W is a convolution with one output. */
static void down_with_base(const struct backend *be, struct device *d, float *t, const struct lora *l, const struct weight *w)
{
	const struct conv_shape whole = { l->rank, w->kh, w->kw, 1, 1, 1, 0 };

	if (w->kh > 1 || w->kw > 1)
		be->conv2d(d, t, l->down.data, w, NULL, &whole);
	else
		be->linear(d, t, l->down.data, w, NULL, l->rank);
}

/* |w + s b A|^2 = |w|^2 + b (2 s A w + s^2 A A^T b), for each row w of W and b of up; A is down.  up_t [rank,out]: the other factor of
 * that sum, so it is made here. */
static void norms(const struct backend *be, struct device *d, float *norm2, float *up_t, float *t, float *square, const struct lora *l,
		  const struct weight *w)
{
	const int r = l->rank, out = l->up.n, in = l->down.h * l->down.w * l->down.c;
	const float s = l->scale;

	down_with_base(be, d, t, l, w);
	be->gemm(d, 0, 1, r, r, in, 1, l->down.data, in, l->down.data, in, 0, square, r);
	be->gemm(d, 0, 1, r, out, r, s * s, square, r, l->up.data, r, 2 * s, t, out);
	be->gemm(d, 0, 1, r, out, r, 1, l->dora->unit, l->dora->units, l->up.data, r, 0, up_t, out);
	be->multiply(d, t, t, up_t, r, out, false);
	be->copy(d, norm2, l->rows2, out);
	be->sum_per_sample(d, norm2, t, 1, r, out, 1);
}

void dora_norms(const struct backend *be, struct device *d, float *norm2, const struct lora *l, const struct weight *w, float *room)
{
	const size_t part = (size_t)l->rank * l->up.n;

	norms(be, d, norm2, room, room + part, room + 2 * part, l, w);
}

static struct dora dora_now(struct tape *t, const struct lora *l, const struct weight *w)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const int r = l->rank, out = l->up.n;
	struct dora k = { l, tape_scratch(t, out), tape_scratch(t, out), tape_scratch(t, (size_t)r * out) };
	float *product = tape_scratch(t, (size_t)r * out), *square = tape_scratch(t, (size_t)r * r);

	norms(be, d, k.norm2, k.up, product, square, l, w);
	be->over_root(d, k.gain, 1, l->magnitude.data, k.norm2, DORA_EPS, 0, out);
	be->multiply(d, k.up, k.up, k.gain, r, out, true);
	tape_scratch_give(t, square);
	tape_scratch_give(t, product);
	return k;
}

static void set_factor(struct tape *t, struct doras *k)
{
	const struct backend *be = tape_backend(t);
	const int out = k->dora[0].lora->up.n;
	float rest = 1;

	k->factor = tape_scratch(t, out);
	for (size_t i = 0; i < k->count; i++) {
		be->axpby(tape_device(t), k->factor, k->dora[i].lora->weight, k->dora[i].gain, i > 0, out);
		rest -= k->dora[i].lora->weight;
	}
	if (rest != 0)
		be->axpby(tape_device(t), k->factor, rest, k->dora[0].lora->dora->ones, 1, out);
}

struct doras *doras_now(struct tape *t, const struct adapted *a)
{
	struct doras *k;
	size_t n = 0;

	for (const struct lora *l = a->lora; l; l = l->next)
		n += l->dora && !lora_is_out(l);
	if (!n)
		return NULL;
	k = xcalloc(1, sizeof(*k) + n * sizeof(*k->dora));
	for (const struct lora *l = a->lora; l; l = l->next)
		if (l->dora && !lora_is_out(l))
			k->dora[k->count++] = dora_now(t, l, a->w);
	set_factor(t, k);
	return k;
}

const float *doras_factor(const struct doras *k)
{
	return k->factor;
}

const struct dora *dora_of(const struct doras *k, const struct lora *l)
{
	for (size_t i = 0; k && i < k->count; i++)
		if (k->dora[i].lora == l)
			return &k->dora[i];
	return NULL;
}

void doras_give(struct tape *t, struct doras *k)
{
	if (!k)
		return;
	tape_scratch_give(t, k->factor);
	while (k->count--) {
		tape_scratch_give(t, k->dora[k->count].up);
		tape_scratch_give(t, k->dora[k->count].gain);
		tape_scratch_give(t, k->dora[k->count].norm2);
	}
	free(k);
}
