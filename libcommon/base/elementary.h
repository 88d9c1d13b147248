/*
 * elementary.h - exp, log, sin, cos and pow of nothing but double arithmetic: the same bits on every machine.
 *
 * The last bit of the C library's depends on its version and on the processor: with fused multiply-add it takes another
 * path.  The symptom is another adapter from the same inputs.  These are within 2 ulp of the true value, pow() within
 * what the exponent's rounding makes of it.  tests/idioms refuses the C library's own in libcommon/.
 */
#ifndef BASE_ELEMENTARY_H
#define BASE_ELEMENTARY_H

double plain_exp(double x);
double plain_log(double x);             /* -infinity for 0, NaN below */
double plain_sin(double x);
double plain_cos(double x);
/* Exact where y is a whole number up to 64 and the result is one; NaN for x < 0 with another y. */
double plain_pow(double x, double y);

#endif
