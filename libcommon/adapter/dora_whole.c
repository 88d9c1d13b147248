/* DoRA around LoHa, LoKr and the like: V = W + dW, W' = V m / |V| and W' - W are made whole, in scratch. */
#include <stdlib.h>
#include "../base/memory.h"
#include "dora_whole.h"
#include "lengths.h"

/* A matrix [out,kh,kw,in], and which of its sums: over all of a column, channel by channel, or over all of a row. */
struct side { int out, taps, in; size_t n; int lengths; bool columns; };

static struct side side_of(const struct weight *w, bool columns)
{
	const int taps = w->kh * w->kw;

	return (struct side){ w->out, taps, w->in, (size_t)w->out * taps * w->in, columns ? w->in : w->out, columns };
}

/* sum = of x's columns or rows */
static void sum_up(struct tape *t, float *sum, const float *x, const struct side *s)
{
	const struct backend *be = tape_backend(t);

	if (s->columns)
		be->sum_per_sample(tape_device(t), f32(sum), f32(x), 1, s->out * s->taps, s->in, 0);
	else
		be->sum_per_sample(tape_device(t), f32(sum), f32(x), s->out, s->taps * s->in, 1, 0);
}

/* y = x with its columns or rows multiplied by factor; y may be x */
static void scale_all(struct tape *t, float *y, const float *x, const float *factor, const struct side *s)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	float *spread;

	if (s->columns) {
		be->multiply(d, f32(y), f32(x), f32(factor), s->out * s->taps, s->in, true);
		return;
	}
	spread = tape_scratch(t, s->n);
	be->zero(d, f32(spread), s->n);
	be->add_per_sample(d, f32(spread), f32(spread), f32(factor), s->out, s->taps * s->in, 1);
	be->multiply(d, f32(y), f32(x), f32(spread), s->out, s->taps * s->in, false);
	tape_scratch_give(t, spread);
}

/* W's numbers as floats: its rows are looked up like an embedding's, so any device and type will do. */
static void widen(struct tape *t, float *y, const struct weight *w)
{
	struct weight flat = *w;
	int32_t *ids = xmalloc(w->out * sizeof(*ids));

	flat.in *= w->kh * w->kw;
	flat.kh = flat.kw = 1;
	for (int i = 0; i < w->out; i++)
		ids[i] = i;
	tape_backend(t)->embedding(tape_device(t), y, &flat, ids, w->out);
	free(ids);
}

/* v = W + dW, which dropout may have taken rows from; base: W */
static void both(struct tape *t, float *v, float *base, const struct branch *b, const struct weight *w,
		 const struct side *s)
{
	b->inner->whole(t, v, b, w);
	branch_leave_out_rows(t, b, v, w);
	widen(t, base, w);
	tape_backend(t)->axpby(tape_device(t), f32(v), 1, f32(base), b->scale, s->n);
}

static void squares(struct tape *t, float *norm2, const float *v, const struct side *s)
{
	float *square = tape_scratch(t, s->n);

	tape_backend(t)->multiply(tape_device(t), f32(square), f32(v), f32(v), s->out * s->taps, s->in, false);
	sum_up(t, norm2, square, s);
	tape_scratch_give(t, square);
}

void dora_whole_norms(struct tape *t, float *norm2, const struct branch *b, const struct weight *w, bool columns)
{
	const struct side s = side_of(w, columns);
	float *v = tape_scratch(t, s.n), *base = tape_scratch(t, s.n);

	both(t, v, base, b, w, &s);
	tape_scratch_give(t, base);
	squares(t, norm2, v, &s);
	tape_scratch_give(t, v);
}

/* Values of one pass, in scratch: v becomes W' - W in the end, [out,kh,kw,in]; norm2 and gain [lengths] */
struct now { struct side side; float eps, *v, *base, *norm2, *gain; };

static struct now now_begin(struct tape *t, const struct branch *b, const struct weight *w, bool columns)
{
	struct now k = { .side = side_of(w, columns), .eps = b->norm_eps };

	k.norm2 = tape_scratch(t, k.side.lengths);
	k.gain = tape_scratch(t, k.side.lengths);
	k.v = tape_scratch(t, k.side.n);
	k.base = tape_scratch(t, k.side.n);
	both(t, k.v, k.base, b, w, &k.side);
	squares(t, k.norm2, k.v, &k.side);
	tape_backend(t)->over_root(tape_device(t), k.gain, 1, b->part[LENGTHS_PART].data, k.norm2, b->norm_eps, 0,
				   k.side.lengths);
	return k;
}

/* change = gain * v - W; change may be v */
static void change_of(struct tape *t, float *change, const struct now *k)
{
	scale_all(t, change, k->v, k->gain, &k->side);
	tape_backend(t)->axpby(tape_device(t), f32(change), -1, f32(k->base), 1, k->side.n);
}

static void now_end(struct tape *t, struct now *k)
{
	tape_scratch_give(t, k->base);
	tape_scratch_give(t, k->v);
	tape_scratch_give(t, k->gain);
	tape_scratch_give(t, k->norm2);
}

static void forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b,
		    const struct adapted *a, bool columns)
{
	struct now k = now_begin(t, b, a->w, columns);

	change_of(t, k.v, &k);
	whole_add(t, y, x, k.v, b->weight, a);
	now_end(t, &k);
}

/* From dw, the gradient by W' = gain * V: those of the lengths and of V.  slope = sums of dw * V, the gain's;
 * dV = gain * dw + c * V with c = -slope gain / |V|^2, which stands in dw in the end.  V is overwritten. */
static void lengths_back(struct tape *t, float *dw, const struct now *k, const struct part_grads *g)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const struct side *s = &k->side;
	float *slope = tape_scratch(t, s->lengths), *product = k->base;

	be->multiply(d, f32(product), f32(dw), f32(k->v), s->out * s->taps, s->in, false);
	sum_up(t, slope, product, s);
	if (g->at[LENGTHS_PART])
		be->over_root(d, g->at[LENGTHS_PART], 1, slope, k->norm2, k->eps, g->add[LENGTHS_PART], s->lengths);
	scale_all(t, dw, dw, k->gain, s);
	be->over_root(d, slope, -1, slope, k->norm2, k->eps, 0, s->lengths);
	be->over_root(d, k->gain, 1, k->gain, k->norm2, k->eps, 0, s->lengths);
	be->multiply(d, f32(slope), f32(slope), f32(k->gain), 1, s->lengths, false);
	scale_all(t, k->v, k->v, slope, s);
	be->axpby(d, f32(dw), 1, f32(k->v), 1, s->n);
	tape_scratch_give(t, slope);
}

static void backward(struct tape *t, const struct tensor *y, const struct tensor *x, struct values dx,
		     const struct branch *b, const struct part_grads *g, const struct adapted *a, bool columns)
{
	struct now k = now_begin(t, b, a->w, columns);
	float *dw = tape_scratch(t, k.side.n);

	if (dx.at) {
		change_of(t, dw, &k);
		whole_add_back(t, y, x, dx, dw, b->weight, a);
	}
	if (b->part[LENGTHS_PART].wants_grad) {
		whole_grad(t, dw, y, x, b->weight, a);
		lengths_back(t, dw, &k, g);
		tape_backend(t)->axpby(tape_device(t), f32(dw), b->scale, f32(dw), 0, k.side.n);
		branch_leave_out_rows(t, b, dw, a->w);
		b->inner->whole_back(t, dw, b, g, a->w);
	}
	tape_scratch_give(t, dw);
	now_end(t, &k);
}

static void columns_forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b,
			    const struct adapted *a, const void *pass)
{
	forward(t, y, x, b, a, true);
}

static void rows_forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b,
			 const struct adapted *a, const void *pass)
{
	forward(t, y, x, b, a, false);
}

static void columns_backward(struct tape *t, const struct tensor *y, const struct tensor *x, struct values dx,
			     const struct branch *b, const struct part_grads *g, const struct adapted *a,
			     const void *pass)
{
	backward(t, y, x, dx, b, g, a, true);
}

static void rows_backward(struct tape *t, const struct tensor *y, const struct tensor *x, struct values dx,
			  const struct branch *b, const struct part_grads *g, const struct adapted *a, const void *pass)
{
	backward(t, y, x, dx, b, g, a, false);
}

const struct branch_kind dora_whole_columns = { .forward = columns_forward, .backward = columns_backward };
const struct branch_kind dora_whole_rows = { .forward = rows_forward, .backward = rows_backward };
