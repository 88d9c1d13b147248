/*
 * singular.h - the singular values of a matrix of any size, without vectors, and the effective rank.
 *
 * All in double: a value is within a few times 1e-16 of the largest one.  For vectors, for each value's own exactness,
 * and for products there is linalg.h.  One thread, one order: the same bytes on
 * every machine.  Must not know where a matrix comes from.
 */
#ifndef BASE_SINGULAR_H
#define BASE_SINGULAR_H

#include <stddef.h>

/* a [rows][columns], which may be overwritten.  value: as many as the shorter side, descending; all NaN where a number
 * of a is none. */
void singular_values(double *a, size_t rows, size_t columns, double *value);
/* exp(H), H the entropy of the values divided by their sum (Roy, Vetterli: The effective rank, EUSIPCO 2007): n for n
 * equal values, 1 for one, 0 where all are 0. */
double effective_rank(const double *value, size_t n);

#endif
