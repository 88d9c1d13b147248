/* Philox4x32-10, and the distributions drawn from it: uniform, normal, permutation. */
#include <math.h>
#include "elementary.h"
#include "philox.h"

void philox(const struct random *r, uint32_t index, uint32_t out[4])
{
	uint32_t k0 = (uint32_t)r->seed, k1 = (uint32_t)(r->seed >> 32);
	uint32_t c0 = index, c1 = r->item, c2 = r->step, c3 = r->purpose;

	for (int round = 0; round < 10; round++) {
		uint64_t p0 = (uint64_t)0xd2511f53 * c0, p1 = (uint64_t)0xcd9e8d57 * c2;

		c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
		c1 = (uint32_t)p1;
		c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
		c3 = (uint32_t)p0;
		k0 += 0x9e3779b9;
		k1 += 0xbb67ae85;
	}
	out[0] = c0;
	out[1] = c1;
	out[2] = c2;
	out[3] = c3;
}

/* The high part of a 64-bit word times n: no number of 0..n-1 is more likely than another by over n / 2^64. */
uint32_t random_below(const struct random *r, uint32_t index, uint32_t n)
{
	uint32_t w[4];
	uint64_t high, low;

	philox(r, index, w);
	high = (uint64_t)w[0] * n;
	low = (uint64_t)w[1] * n;
	return (high + (low >> 32)) >> 32;
}

static float unit(uint32_t word)
{
	return (float)(word >> 8) * 0x1p-24f;
}

float random_uniform(const struct random *r, uint32_t index)
{
	uint32_t w[4];

	philox(r, index, w);
	return unit(w[0]);
}

/* Half a step is added under the logarithm, so that a word of zeros gives 6.76 and not infinity. */
static void normal_pair(uint32_t a, uint32_t b, float x[2])
{
	const double turn = 6.283185307179586476925287;
	const double radius = sqrt(-2 * plain_log((a + 0.5) * 0x1p-32)), angle = turn * 0x1p-32 * b;

	x[0] = (float)(radius * plain_cos(angle));
	x[1] = (float)(radius * plain_sin(angle));
}

void random_normal(const struct random *r, float *x, size_t n)
{
	for (size_t i = 0; i < n; i += 4) {
		uint32_t w[4];
		float four[4];

		philox(r, (uint32_t)(i / 4), w);
		normal_pair(w[0], w[1], four);
		normal_pair(w[2], w[3], four + 2);
		for (size_t j = 0; j < 4 && i + j < n; j++)
			x[i + j] = four[j];
	}
}

void random_uniforms(const struct random *r, float *x, size_t n, float low, float high)
{
	for (size_t i = 0; i < n; i += 4) {
		uint32_t w[4];

		philox(r, (uint32_t)(i / 4), w);
		for (size_t j = 0; j < 4 && i + j < n; j++)
			x[i + j] = (float)(low + ((double)high - low) * unit(w[j]));
	}
}

void random_permutation(const struct random *r, uint32_t *order, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		order[i] = i;
	for (uint32_t left = n; left > 1; left--) {
		uint32_t pick = random_below(r, left - 1, left), last = order[left - 1];

		order[left - 1] = order[pick];
		order[pick] = last;
	}
}
