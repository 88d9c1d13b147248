/* DoRA of a LoRA, with lengths of columns: W' = (W + scale up down) magnitude / |W + scale up down|. */
#include <stdlib.h>
#include "../base/memory.h"
#include "dora_lora.h"
#include "lengths.h"

/* Values of one pass, from the parameters as they are now; in scratch. */
struct now {
	float *norm2, *gain;            /* [in]: |V|^2 with V = W + scale up down; magnitude / |V| */
	float *down, *back;             /* [rank,kh,kw,in]: gain * down; scale up^T V */
};

/* |w + s B a|^2 = |w|^2 + a (2 s B^T w + s^2 B^T B a), for each column w of W and a of down; B is up.  A column of a
 * convolution has the kernel's places, so its sum goes over them too. */
void dora_column_norms(const struct backend *be, struct device *d, float *norm2, float *back, float *up_t,
		       float *square, float *room, const struct branch *b, const struct weight *w)
{
	const struct tensor *down = &b->part[LORA_DOWN], *up = &b->part[LORA_UP];
	const int r = b->rank, out = up->n, fan = down_fan(b), rows = down_rows(b), in = down->c;
	const float s = b->scale;

	up_turned(be, d, up_t, b);
	rows_by_base(be, d, room, up_t, b, w);
	be->gemm(d, 1, 0, r, r, out, 1, f32(up->data), r, f32(up->data), r, 0, f32(square), r);
	be->gemm(d, 0, 0, r, fan, r, s * s, f32(square), r, f32(down->data), fan, 0, f32(back), fan);
	be->axpby(d, f32(back), s, f32(room), 1, (size_t)r * fan);
	be->axpby(d, f32(room), 1, f32(back), s, (size_t)r * fan);
	be->multiply(d, f32(room), f32(room), f32(down->data), rows, in, false);
	be->copy(d, norm2, b->fixed, in);
	be->sum_per_sample(d, f32(norm2), f32(room), 1, rows, in, 1);
}

static void *begin(struct tape *t, const struct branch *b, const struct adapted *a, struct branch_gains *gains)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const struct tensor *down = &b->part[LORA_DOWN];
	const size_t r = b->rank, out = b->part[LORA_UP].n, n = tensor_count(down);
	struct now *k = xmalloc(sizeof(*k));
	float *up_t, *square;

	k->norm2 = tape_scratch(t, down->c);
	k->gain = tape_scratch(t, down->c);
	k->down = tape_scratch(t, n);
	k->back = tape_scratch(t, n);
	up_t = tape_scratch(t, r * out);
	square = tape_scratch(t, r * r);
	dora_column_norms(be, d, k->norm2, k->back, up_t, square, k->down, b, a->w);
	be->over_root(d, k->gain, 1, b->part[LENGTHS_PART].data, k->norm2, b->norm_eps, 0, down->c);
	be->multiply(d, f32(k->down), f32(down->data), f32(k->gain), down_rows(b), down->c, true);
	tape_scratch_give(t, square);
	tape_scratch_give(t, up_t);
	gains->in = k->gain;
	return k;
}

static void end(struct tape *t, void *pass)
{
	struct now *k = pass;

	tape_scratch_give(t, k->back);
	tape_scratch_give(t, k->down);
	tape_scratch_give(t, k->gain);
	tape_scratch_give(t, k->norm2);
	free(k);
}

/* The LoRA whose down is gain * down: it does to x what this one does to gain * x. */
static struct branch scaled(const struct branch *b, const struct now *k)
{
	struct branch s = *b;

	s.part[LORA_DOWN].data = k->down;
	return s;
}

/* y += weight scale up (gain down) x: W x has its gain already */
static void forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b,
		    const struct adapted *a, const void *pass)
{
	const struct branch s = scaled(b, pass);

	lora_add(t, y, x, &s, a, b->scale * b->weight, NULL);
}

/* slope [in]: gradient of the gain, weight (sum of x * (dy W)) + that of what the gain makes of down.
 * dscaled [rank,kh,kw,in]: the gradient of gain * down, of dropout too; room: as large */
static void gain_back(struct tape *t, float *slope, const float *dscaled, float *room, const struct branch *b,
		      const float *by_input)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const struct tensor *down = &b->part[LORA_DOWN];

	be->axpby(d, f32(slope), b->weight, f32(by_input), 0, down->c);
	be->multiply(d, f32(room), f32(dscaled), f32(down->data), down_rows(b), down->c, false);
	be->sum_per_sample(d, f32(slope), f32(room), 1, down_rows(b), down->c, 1);
}

/* dup += scale V C down^T, where C scales columns: scale W (C down)^T + scale^2 up (down (C down)^T).
 * shares [rank,kh,kw,in]: C down */
static void up_back(struct tape *t, float *dup, const float *shares, const struct branch *b, const struct weight *w)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const struct tensor *down = &b->part[LORA_DOWN], *up = &b->part[LORA_UP];
	const int r = b->rank, out = up->n, fan = down_fan(b);
	float *product = tape_scratch(t, (size_t)r * out), *square = tape_scratch(t, (size_t)r * r);

	filters_by_base(be, d, product, shares, b, w);
	be->gemm(d, 1, 0, out, r, r, b->scale, f32(product), out, f32(b->constants->unit), b->constants->units, 1,
		 f32(dup), r);
	be->gemm(d, 0, 1, r, r, fan, 1, f32(down->data), fan, f32(shares), fan, 0, f32(square), r);
	be->gemm(d, 0, 0, out, r, r, b->scale * b->scale, f32(up->data), r, f32(square), r, 1, f32(dup), r);
	tape_scratch_give(t, square);
	tape_scratch_give(t, product);
}

/* Through the norm: the slope by |V| is -slope gain / |V|, as gain is m / |V|, and by V that times V / |V|.  So it is
 * V's columns, each multiplied with c = -(slope / |V|) (gain / |V|).
 * ddown += gain * dscaled + c * (scale up^T V);  dup += scale V (c * down)^T.  dscaled is overwritten. */
static void norm_back(struct tape *t, const struct part_grads *g, float *slope, float *dscaled, const struct branch *b,
		      const struct now *k, const struct weight *w)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const struct tensor *down = &b->part[LORA_DOWN];
	const int rows = down_rows(b), in = down->c;
	const size_t n = tensor_count(down);
	float *by_norm = tape_scratch(t, in);

	be->over_root(d, slope, -1, slope, k->norm2, b->norm_eps, 0, in);
	be->over_root(d, by_norm, 1, k->gain, k->norm2, b->norm_eps, 0, in);
	be->multiply(d, f32(slope), f32(slope), f32(by_norm), 1, in, false);
	if (g->at[LORA_DOWN]) {
		be->multiply(d, f32(dscaled), f32(dscaled), f32(k->gain), rows, in, true);
		be->axpby(d, f32(g->at[LORA_DOWN]), 1, f32(dscaled), g->add[LORA_DOWN], n);
		be->multiply(d, f32(dscaled), f32(k->back), f32(slope), rows, in, true);
		be->axpby(d, f32(g->at[LORA_DOWN]), 1, f32(dscaled), 1, n);
	}
	if (g->at[LORA_UP]) {
		be->multiply(d, f32(dscaled), f32(down->data), f32(slope), rows, in, true);
		up_back(t, g->at[LORA_UP], dscaled, b, w);
	}
	tape_scratch_give(t, by_norm);
}

/* dx and dup as of the scaled LoRA; the rest from its gradient by gain * down, which is as small as down. */
static void backward(struct tape *t, const struct tensor *y, const struct tensor *x, struct values dx,
		     const struct branch *b, const struct part_grads *g, const struct adapted *a, const void *pass)
{
	const struct backend *be = tape_backend(t);
	const struct now *k = pass;
	const struct branch s = scaled(b, k);
	const size_t n = tensor_count(&b->part[LORA_DOWN]);
	const int in = b->part[LORA_DOWN].c;
	struct part_grads scaled_grads = *g;
	float *slope, *dscaled, *room;

	scaled_grads.at[LORA_DOWN] = NULL;
	if (!g->by_input) {
		lora_add_back(t, y, grad_of(y), x, dx, &s, &scaled_grads, a, b->scale * b->weight, NULL);
		return;
	}
	slope = tape_scratch(t, in);
	dscaled = scaled_grads.at[LORA_DOWN] = tape_scratch(t, n);
	scaled_grads.add[LORA_DOWN] = 0;
	lora_add_back(t, y, grad_of(y), x, dx, &s, &scaled_grads, a, b->scale * b->weight, NULL);
	room = tape_scratch(t, n);
	gain_back(t, slope, dscaled, room, b, g->by_input);
	tape_scratch_give(t, room);
	if (g->at[LENGTHS_PART])
		be->over_root(tape_device(t), g->at[LENGTHS_PART], 1, slope, k->norm2, b->norm_eps,
			      g->add[LENGTHS_PART], in);
	norm_back(t, g, slope, dscaled, b, k, a->w);
	tape_scratch_give(t, dscaled);
	tape_scratch_give(t, slope);
}

const struct branch_kind dora_lora_columns = {
	.begin = begin, .end = end, .forward = forward, .backward = backward
};
