/* DoRA of a LoRA, with lengths of rows: W' = magnitude / |W + scale up down| (W + scale up down). */
#include <stdlib.h>
#include "../base/memory.h"
#include "dora_lora.h"
#include "lengths.h"

/* Values of one pass, from the parameters as they are now; in scratch. */
struct now {
	float *norm2, *gain;            /* [out]: |W + scale up down|^2; magnitude / that norm */
	float *up;                      /* [rank,out]: gain * up, transposed */
};

/* |w + s b A|^2 = |w|^2 + b (2 s A w + s^2 A A^T b), for each row w of W and b of up; A is down.  up_t [rank,out]: the
 * other factor of that sum, so it is made here.  t [rank,out], square [rank,rank]: scratch */
void dora_row_norms(const struct backend *be, struct device *d, float *norm2, float *up_t, float *t, float *square,
		    const struct branch *b, const struct weight *w)
{
	const struct tensor *down = &b->part[LORA_DOWN], *up = &b->part[LORA_UP];
	const int r = b->rank, out = up->n, in = down_fan(b);
	const float s = b->scale;

	filters_by_base(be, d, t, down->data, b, w);
	be->gemm(d, 0, 1, r, r, in, 1, f32(down->data), in, f32(down->data), in, 0, f32(square), r);
	be->gemm(d, 0, 1, r, out, r, s * s, f32(square), r, f32(up->data), r, 2 * s, f32(t), out);
	up_turned(be, d, up_t, b);
	be->multiply(d, f32(t), f32(t), f32(up_t), r, out, false);
	be->copy(d, norm2, b->fixed, out);
	be->sum_per_sample(d, f32(norm2), f32(t), 1, r, out, 1);
}

static void *begin(struct tape *t, const struct branch *b, const struct adapted *a, struct branch_gains *gains)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const int r = b->rank, out = b->part[LORA_UP].n;
	struct now *k = xmalloc(sizeof(*k));
	float *product, *square;

	k->norm2 = tape_scratch(t, out);
	k->gain = tape_scratch(t, out);
	k->up = tape_scratch(t, (size_t)r * out);
	product = tape_scratch(t, (size_t)r * out);
	square = tape_scratch(t, (size_t)r * r);
	dora_row_norms(be, d, k->norm2, k->up, product, square, b, a->w);
	be->over_root(d, k->gain, 1, b->part[LENGTHS_PART].data, k->norm2, b->norm_eps, 0, out);
	be->multiply(d, f32(k->up), f32(k->up), f32(k->gain), r, out, true);
	tape_scratch_give(t, square);
	tape_scratch_give(t, product);
	gains->out = k->gain;
	return k;
}

static void end(struct tape *t, void *pass)
{
	struct now *k = pass;

	tape_scratch_give(t, k->up);
	tape_scratch_give(t, k->gain);
	tape_scratch_give(t, k->norm2);
	free(k);
}

/* y += weight scale z (gain up)^T: W x has its gain already */
static void forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b,
		    const struct adapted *a, const void *pass)
{
	const struct now *k = pass;

	lora_add(t, y, x, b, a, b->scale * b->weight, k->up);
}

struct lengths_back {
	float *dm, *room;               /* room [rows,out] */
	int add;
	const struct tensor *y, *x;
	const struct branch *b;
	const struct adapted *a;
	const struct now *k;
};

/* backward of y = weight gain (W x + scale z up^T), where gain = magnitude / norm and the norm counts as a constant:
 * dmagnitude += weight / norm * sum over rows of dy (W x + scale z up^T).  W x is computed again: cheaper than kept. */
static void lengths_back(struct tape *t, const float *z, void *arg)
{
	const struct lengths_back *l = arg;
	const struct branch *b = l->b;
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const int rows = tensor_rows(l->y), out = l->y->c;
	float *sum = tape_scratch(t, out);

	adapted_product(t, f32(l->room), l->x, l->a, NULL);
	be->gemm(d, 0, 1, rows, out, b->rank, b->scale, f32(z), b->rank, f32(b->part[LORA_UP].data), b->rank, 1,
		 f32(l->room), out);
	be->multiply(d, f32(l->room), f32(l->room), grad_of(l->y), rows, out, false);
	be->sum_per_sample(d, f32(sum), f32(l->room), 1, rows, out, 0);
	be->over_root(d, l->dm, b->weight, sum, l->k->norm2, b->norm_eps, l->add, out);
	tape_scratch_give(t, sum);
}

/* LoRA's backward with gain * dy instead of dy, and the gradient of the lengths. */
static void backward(struct tape *t, const struct tensor *y, const struct tensor *x, struct values dx,
		     const struct branch *b, const struct part_grads *g, const struct adapted *a, const void *pass)
{
	const struct now *k = pass;
	float *room = tape_scratch(t, tensor_count(y));
	struct lengths_back l = { g->at[LENGTHS_PART], room, g->add[LENGTHS_PART], y, x, b, a, k };

	tape_backend(t)->multiply(tape_device(t), f32(room), grad_of(y), f32(k->gain), tensor_rows(y), y->c, true);
	lora_add_back(t, y, f32(room), x, dx, b, g, a, b->scale * b->weight,
		      l.dm ? &(struct lora_see){ lengths_back, &l } : NULL);
	tape_scratch_give(t, room);
}

const struct branch_kind dora_lora_rows = { .begin = begin, .end = end, .forward = forward, .backward = backward };
