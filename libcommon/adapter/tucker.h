/*
 * tucker.h - the Tucker decomposition of a kernel: T(t, b)[m,kh,kw,i] = sum over n of t[m,kh,kw,n] b[n,i], so that a
 * kernel is the product of two small matrices and a core.  The core and one matrix are multiplied to a factor of the
 * kernel's size, which is then used as without a core.
 */
#ifndef ADAPTER_TUCKER_H
#define ADAPTER_TUCKER_H

#include "kind.h"

/* [r,kh,kw,in] in scratch, of the parts core t [r,kh,kw,r] and factor b [r,1,1,in] */
float *tucker_now(struct tape *t, const struct branch *b, int core, int factor);
/* backward: from the product's gradient to those of core and factor. */
void tucker_back(struct tape *t, const float *dproduct, const struct branch *b, const struct part_grads *g, int core,
		 int factor);
/* The same in double, in a file's order: core [r,r,kh,kw], b [r,in]; out [r,in,kh,kw] */
void tucker_rows(double *out, const float *core, const float *b, int r, int in, int taps);

#endif
