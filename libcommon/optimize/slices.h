/*
 * slices.h - which rank owns which parameters.
 *
 * A slice is a run of whole parameters: some optimizers want sums over all of one, and AdamW8bit blocks of its 256
 * numbers.  So every optimizer works on a slice as on the whole.
 */
#ifndef OPTIMIZE_SLICES_H
#define OPTIMIZE_SLICES_H

#include "optimizer.h"

/* Rank r of `ranks` owns the parameters cut[r] up to cut[r + 1], about as many floats as any other. */
void slices_cut(const struct optimizer *o, int ranks, size_t *cut);

#endif
