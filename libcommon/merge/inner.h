/*
 * inner.h - inner products of several adapters' updates of one layer, in double.
 *
 * Of LoRAs from small matrices: <s up down, s' up' down'> = s s' times the sum of (up^T up') * (down down'^T), element
 * by element.  Of others from the updates themselves, a band of rows at a time.
 */
#ifndef MERGE_INNER_H
#define MERGE_INNER_H

#include "inputs.h"

/* gram [n,n] of n terms of one layer, each times its weight */
int inner_products(double *gram, const struct inputs *in, const struct term *term, size_t n,
		   struct error *e) MUST_CHECK;

#endif
