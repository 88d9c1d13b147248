/*
 * lengths.h - DoRA: W + dW brought to lengths of its own, of its rows (dora.c) or its columns (dora_columns.c), around any kind.
 *
 * W' = m V / |V| with V = W + dW; the layer is `weight` of the way from W to W'.  The lengths m are one part more, behind the kind's.  Of a LoRA
 * lengths of rows can be trained: then the gradient takes |V| for a constant (arXiv 2402.09353, 4.3).  Else nothing of the module is, so that
 * m / |V| is known from the start.
 */
#ifndef ADAPTER_LENGTHS_H
#define ADAPTER_LENGTHS_H

#include "kind.h"

#define LENGTHS_PART   (BRANCH_PARTS - 1)       /* [1,1,1,out] */
#define LENGTHS_SUFFIX "dora_scale"
#define DORA_EPS 1e-12f                         /* beside a norm: a row of zeros stays one */

extern const struct branch_kind dora;           /* a LoRA's rows; branch.fixed: squares of the norms of W's rows */
extern const struct branch_kind dora_rows;      /* any kind's, as they are; branch.fixed: m / |V|, [out] */
extern const struct branch_kind dora_columns;   /* the same, [in] twice: less 1, and itself */

/* norm2 [out]: squares of the norms of the rows of W + scale up down.  room: dora_norms_room() floats of device memory */
void dora_norms(const struct backend *be, struct device *d, float *norm2, const struct branch *b, const struct weight *w, float *room);
size_t dora_norms_room(const struct branch *b);

#endif
