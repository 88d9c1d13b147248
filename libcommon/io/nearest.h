/*
 * nearest.h - weights of a file plus an update in double, rounded once to the nearest value of the weights' type.
 *
 * A way over float would round twice: a sum just above the middle of two halves becomes the middle itself, and then
 * even.  Must not know what is added.
 */
#ifndef IO_NEAREST_H
#define IO_NEAREST_H

#include "dtype.h"

struct nearest_sums {
	double update, error;           /* sums of squares: of the update, of what rounding changed */
	bool unsound, broken;           /* a weight is NaN or infinite; a sum is */
};

/* out = in + add, n elements of a type that from_float() knows, ties to even; out may be in.  *s grows by what was met,
 * in an order that only the n of the calls change. */
void nearest_add(void *out, const void *in, enum dtype dtype, const double *add, size_t n, struct nearest_sums *s);

#endif
