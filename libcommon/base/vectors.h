/*
 * vectors.h - two loops over doubles that lie together, with an order of sums that no instruction set changes.
 */
#ifndef BASE_VECTORS_H
#define BASE_VECTORS_H

#include <stddef.h>

typedef double double_pair __attribute__((vector_size(16), aligned(8), may_alias));

/* sum of x y: eight sums, put together in pairs */
static inline double vectors_dot(const double *x, const double *y, size_t n)
{
	double_pair sum[4] = { { 0 } };
	double rest = 0;
	size_t i = 0;

	for (; i + 8 <= n; i += 8)
		for (int k = 0; k < 4; k++)
			sum[k] += *(const double_pair *)(x + i + 2 * k) * *(const double_pair *)(y + i + 2 * k);
	for (; i < n; i++)
		rest += x[i] * y[i];
	sum[0] = sum[0] + sum[1] + (sum[2] + sum[3]);
	return sum[0][0] + sum[0][1] + rest;
}

/* y += by x */
static inline void vectors_add(double *y, double by, const double *x, size_t n)
{
	const double_pair factor = { by, by };
	size_t i = 0;

	for (; i + 2 <= n; i += 2)
		*(double_pair *)(y + i) += factor * *(const double_pair *)(x + i);
	for (; i < n; i++)
		y[i] += by * x[i];
}

#endif
