/*
 * lengths.h - DoRA around any kind of adapter: columns or rows of W + dW are scaled to given lengths (DoRA's
 * magnitudes).
 *
 * W' = V m / |V| with V = W + dW; the layer uses W + weight (W' - W).  A column is all that one channel of x is
 * multiplied with, a row all that makes one of y.  The lengths m are one more part, behind the kind's.  Around a plain
 * LoRA they can be trained (dora_lora.h), and around kinds that go through the whole of dW (dora_whole.h).  Otherwise
 * nothing of the module is trained, and m / |V| is computed once.
 */
#ifndef ADAPTER_LENGTHS_H
#define ADAPTER_LENGTHS_H

#include "kind.h"

#define LENGTHS_PART   (BRANCH_PARTS - 1)       /* [1,1,1,in] or [1,1,1,out] */
#define LENGTHS_SUFFIX "dora_scale"
/* What is added to a norm before it divides.  LyCORIS, whose name dora_scale is, adds float32's epsilon
 * (lycoris/functional/general.py); PEFT adds nothing to those under its own names (peft/tuners/lora/dora.py).  A row or
 * column of zeros stays zeros with either. */
#define LYCORIS_EPS 1.1920929e-07f
#define LEAST_EPS   1e-12f

extern const struct branch_kind dora_rows;      /* of any kind, not trained; branch.fixed: m / |V|, [out] */
extern const struct branch_kind dora_columns;   /* the same, [in]: m / |V|, and weight times it */

#endif
