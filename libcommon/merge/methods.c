/* TIES, DARE, and pruning by magnitude, of whole updates. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "methods.h"

static const struct merge_method methods[] = {
	{ "ties", .elects = true },
	{ "dare", .drawn = true },
	{ "dare_ties", .drawn = true, .elects = true },
	{ "prune" },
};

const struct merge_method *merge_method(const char *name)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++)
		if (!strcmp(methods[i].name, name))
			return &methods[i];
	return NULL;
}

/* ---- which stay ---- */

enum { DIGITS = 1 << 16 };

/* Floats without their sign have the order of their bits. */
static uint32_t magnitude(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return bits & 0x7fffffff;
}

/* The magnitude of number *k (from 1) from the greatest, by its upper half and then its lower; *k becomes the number
 * among those of the same magnitude. */
static uint32_t kth_greatest(const float *x, size_t n, size_t *k)
{
	size_t *count = xcalloc(DIGITS, sizeof(*count));
	uint32_t upper = DIGITS - 1, lower = DIGITS - 1;

	for (size_t i = 0; i < n; i++)
		count[magnitude(x[i]) >> 16]++;
	while (count[upper] < *k)
		*k -= count[upper--];
	memset(count, 0, DIGITS * sizeof(*count));
	for (size_t i = 0; i < n; i++)
		if (magnitude(x[i]) >> 16 == upper)
			count[magnitude(x[i]) & 0xffff]++;
	while (count[lower] < *k)
		*k -= count[lower--];
	free(count);
	return upper << 16 | lower;
}

static void keep_greatest(float *x, size_t n, size_t keep)
{
	size_t equal = keep;
	uint32_t least = keep ? kth_greatest(x, n, &equal) : UINT32_MAX;

	for (size_t i = 0; i < n; i++)
		if (magnitude(x[i]) < least || (magnitude(x[i]) == least && !equal))
			x[i] = 0;
		else if (magnitude(x[i]) == least)
			equal--;
}

static void keep_drawn(float *x, size_t n, double density, const struct random *draw)
{
	uint32_t word[4];

	for (size_t i = 0; i < n; i++) {
		if (i % 4 == 0)
			philox(draw, (uint32_t)(i / 4), word);
		x[i] = (word[i % 4] >> 8) * 0x1p-24 < density ? (float)(x[i] / density) : 0;
	}
}

void method_thin(const struct merge_method *m, float *x, size_t n, double density, const struct random *draw)
{
	if (density >= 1)
		return;
	if (m->drawn)
		keep_drawn(x, n, density, draw);
	else
		keep_greatest(x, n, (size_t)(density * (double)n));
}

/* ---- the sum ---- */

static float elected(const float *const *x, const double *weight, size_t count, size_t i)
{
	double total = 0, sum = 0;
	size_t agree = 0;

	for (size_t k = 0; k < count; k++)
		total += x[k][i];
	for (size_t k = 0; k < count; k++)
		if (total >= 0 ? x[k][i] > 0 : x[k][i] < 0) {
			sum += weight[k] * x[k][i];
			agree++;
		}
	return agree ? (float)(sum / (double)agree) : 0;
}

static float added(const float *const *x, const double *weight, size_t count, size_t i)
{
	double sum = 0;

	for (size_t k = 0; k < count; k++)
		sum += weight[k] * x[k][i];
	return (float)sum;
}

void method_add(const struct merge_method *m, float *out, const float *const *x, const double *weight, size_t count,
		size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = m->elects ? elected(x, weight, count, i) : added(x, weight, count, i);
}
