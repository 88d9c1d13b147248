/* torch.randn() on the CPU, number for number. */
#include <math.h>
#include <string.h>
#include "../base/elementary.h"
#include "torch_noise.h"

enum { BLOCK = 16, HALF = BLOCK / 2 };  /* numbers that PyTorch transforms at a time */

void torch_seed(struct torch_noise *t, uint64_t seed)
{
	mersenne_seed(&t->stream, seed);
	t->has_second = false;
}

/* ---- 16 and more: float uniforms fill the array, then each block is transformed in place (Box and Muller) ---- */

static float uniform(struct torch_noise *t)
{
	return (mersenne_next(&t->stream) & 0xffffff) * 0x1p-24f;
}

static void transform(float x[BLOCK])
{
	int i;

	for (i = 0; i < HALF; i++) {
		float radius = sqrtf(-2 * (float)plain_log(1 - x[i])), angle = (float)(2 * M_PI) * x[i + HALF];
		x[i] = radius * (float)plain_cos(angle);
		x[i + HALF] = radius * (float)plain_sin(angle);
	}
}

static void draw(struct torch_noise *t, float *x, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		x[i] = uniform(t);
}

/* Where n is no multiple of 16, the last 16 numbers are drawn anew, over the end of the block before. */
static void fill(struct torch_noise *t, float *x, size_t n)
{
	size_t i;

	draw(t, x, n);
	for (i = 0; i + BLOCK <= n; i += BLOCK)
		transform(x + i);
	if (n % BLOCK) {
		draw(t, x + n - BLOCK, BLOCK);
		transform(x + n - BLOCK);
	}
}

/* ---- fewer: one at a time in double; the second of a pair waits for the next call, even another array's ---- */

static double uniform_double(struct torch_noise *t)
{
	uint64_t high = mersenne_next(&t->stream), low = mersenne_next(&t->stream);

	return ((high << 32 | low) & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

static float one(struct torch_noise *t)
{
	double angle, radius;

	if (t->has_second) {
		t->has_second = false;
		return t->second;
	}
	angle = 2 * M_PI * uniform_double(t);
	radius = sqrt(-2 * plain_log(1 - uniform_double(t)));
	t->has_second = true;
	t->second = radius * plain_sin(angle);
	return radius * plain_cos(angle);
}

void torch_normal(struct torch_noise *t, float *x, size_t n)
{
	size_t i;

	if (n >= BLOCK) {
		fill(t, x, n);
		return;
	}
	for (i = 0; i < n; i++)
		x[i] = one(t);
}
