/*
 * dora_lora.h - DoRA of a plain LoRA, whose lengths can be trained: those of columns (dora_lora_columns.c) and of rows
 * (dora_lora_rows.c).
 *
 * The norms of V = W + scale up down come from products of W with matrices of rank rows; dW is never made.
 * branch.fixed holds the squares of W's own norms, [in] or [out].  Private to adapter/ and its tests.
 */
#ifndef ADAPTER_DORA_LORA_H
#define ADAPTER_DORA_LORA_H

#include "lora.h"

/* Rows: the gradient takes |V| for a constant (arXiv 2402.09353, 4.3), as PEFT does. */
extern const struct branch_kind dora_lora_rows;
/* Columns: the gradient goes through |V|, as LyCORIS' does (functional/general.py). */
extern const struct branch_kind dora_lora_columns;

/* norm2: squares of the norms of V's rows [out], or of its columns [in].
 * up_t [rank,out]: becomes up, transposed.  back [rank,kh,kw,in]: becomes scale up^T V.  The others are scratch:
 * t [rank,out], square [rank,rank], room [rank,kh,kw,in]. */
void dora_row_norms(const struct backend *be, struct device *d, float *norm2, float *up_t, float *t, float *square,
		    const struct branch *b, const struct weight *w);
void dora_column_norms(const struct backend *be, struct device *d, float *norm2, float *back, float *up_t,
		       float *square, float *room, const struct branch *b, const struct weight *w);

/* ---- for the two of them ---- */
/* rank * kh * kw, and all of down's numbers */
static inline int down_rows(const struct branch *b)
{
	return tensor_rows(&b->part[LORA_DOWN]);
}
static inline int down_fan(const struct branch *b)
{
	return (int)tensor_count(&b->part[LORA_DOWN]) / b->rank;
}

/* up_t [rank,out] */
static inline void up_turned(const struct backend *be, struct device *d, float *up_t, const struct branch *b)
{
	const int r = b->rank, out = b->part[LORA_UP].n;

	be->gemm(d, 0, 1, r, out, r, 1, f32(b->constants->unit), b->constants->units, f32(b->part[LORA_UP].data), r, 0,
		 f32(up_t), out);
}

/* A filter is a picture of its own size, so its product with W is a convolution with one output. */
static inline struct conv_shape filter_as_picture(const struct branch *b, const struct weight *w)
{
	return (struct conv_shape){ b->rank, w->kh, w->kw, 1, 1, 1, 0 };
}

/* t [rank,out] = f W^T, f [rank,kh,kw,in] */
static inline void filters_by_base(const struct backend *be, struct device *d, float *t, const float *f,
				   const struct branch *b, const struct weight *w)
{
	const struct conv_shape whole = filter_as_picture(b, w);

	if (w->kh > 1 || w->kw > 1)
		be->conv2d(d, f32(t), f32(f), w, NULL, &whole);
	else
		be->linear(d, f32(t), f32(f), w, NULL, b->rank, NULL);
}

/* f [rank,kh,kw,in] = t W, t [rank,out] */
static inline void rows_by_base(const struct backend *be, struct device *d, float *f, const float *t,
				const struct branch *b, const struct weight *w)
{
	const struct conv_shape whole = filter_as_picture(b, w);

	if (w->kh > 1 || w->kw > 1)
		be->conv2d_dx(d, f32(f), f32(t), w, &whole, 0);
	else
		be->linear_dx(d, f32(f), f32(t), w, b->rank, 0, NULL);
}

#endif
