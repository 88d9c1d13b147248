/*
 * lengths.h - DoRA around any kind of adapter: rows (dora.c, dora_rows.c) or columns (dora_columns.c) of W + dW are
 * scaled to given lengths (DoRA's magnitudes).
 *
 * W' = m V / |V| with V = W + dW; the layer uses W + weight (W' - W).  The lengths m are one more part, behind the
 * kind's.  With LoRA, lengths of rows can be trained; the gradient then takes |V| as a constant (arXiv 2402.09353,
 * 4.3).  Otherwise nothing of the module is trained, and m / |V| is computed once.
 */
#ifndef ADAPTER_LENGTHS_H
#define ADAPTER_LENGTHS_H

#include "kind.h"

#define LENGTHS_PART   (BRANCH_PARTS - 1)       /* [1,1,1,out] */
#define LENGTHS_SUFFIX "dora_scale"
#define DORA_EPS 1e-12f                         /* added to a norm, so that a row of zeros stays zeros */

extern const struct branch_kind dora;           /* a LoRA's rows; branch.fixed: squares of the norms of W's rows */
extern const struct branch_kind dora_rows;      /* any kind's, as they are; branch.fixed: m / |V|, [out] */
extern const struct branch_kind dora_columns;   /* the same, [in] twice: less 1, and itself */

/* norm2 [out]: squares of the norms of the rows of W + scale up down.
 * room: dora_norms_room() floats of device memory */
void dora_norms(const struct backend *be, struct device *d, float *norm2, const struct branch *b,
		const struct weight *w, float *room);
size_t dora_norms_room(const struct branch *b);

#endif
