/*
 * dora_whole.h - DoRA around a kind that goes through the whole of dW, whose lengths can be trained: of columns and of
 * rows, with gradients through the norms, as LyCORIS has both (functional/general.py).
 *
 * It is one more such kind, whose dW is W' - W.  Private to adapter/ and its tests.
 */
#ifndef ADAPTER_DORA_WHOLE_H
#define ADAPTER_DORA_WHOLE_H

#include "kind.h"

extern const struct branch_kind dora_whole_columns, dora_whole_rows;

/* norm2: squares of the norms of the columns [in] or the rows [out] of W + dW */
void dora_whole_norms(struct tape *t, float *norm2, const struct branch *b, const struct weight *w, bool columns);

#endif
