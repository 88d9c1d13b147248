/*
 * linalg_loops.h - the inner loops of linalg.c, for any machine and with AVX2: both do the same roundings in the same
 * order, hence give the same bytes.  Private to linalg*.c and their test.
 */
#ifndef BASE_LINALG_LOOPS_H
#define BASE_LINALG_LOOPS_H

#include <stddef.h>

/* Partial sums of a dot product: sum i takes the elements i, i + 8, ... */
enum { SUMS = 8 };

struct linalg_loops {
	double (*dot)(const double *x, const double *y, size_t n);
	void (*add_scaled)(double *y, double a, const double *x, size_t n);             /* y += a x */
	/* x, y = c x - s y, s x + c y */
	void (*rotate)(double *x, double *y, double c, double s, size_t n);
};

extern const struct linalg_loops linalg_portable;
#ifdef __x86_64__
extern const struct linalg_loops linalg_avx2;
#endif
const struct linalg_loops *linalg_loops(void);          /* for this processor */

#endif
