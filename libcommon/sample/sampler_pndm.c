/* PLMS, the linear multistep part of PNDM (Liu et al. 2022). */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "sampler_internal.h"

/* Until the history is full, its last place holds the x at which the first step began. */
enum { ORDER = 4, START = ORDER - 1 };

static int evaluations(int steps)
{
	return steps > 1 ? steps + 1 : 1;
}

/* The first step is taken twice: after the second evaluation it is repeated from its beginning. */
static int step_of(int i)
{
	return i < 2 ? i : i - 1;
}

/* Adams-Bashforth over the last `held` outputs (Liu et al. 2022, the linear multistep part). */
static void combine(const struct sampler_plan *p, int held, float *mean, size_t n)
{
	static const float weight[ORDER][ORDER] = {
		{ 1 }, { 3 / 2.f, -1 / 2.f }, { 23 / 12.f, -16 / 12.f, 5 / 12.f },
		{ 55 / 24.f, -59 / 24.f, 37 / 24.f, -9 / 24.f },
	};
	size_t k;
	int j;

	for (k = 0; k < n; k++) {
		mean[k] = 0;
		for (j = 0; j < held; j++)
			mean[k] += weight[held - 1][j] * p->kept[j][k];
	}
}

static void pndm_step(struct sampler_plan *p, int i, float *x, const float *output, const float *noise, size_t n)
{
	float *mean = xmalloc(n * sizeof(*mean));
	size_t k;

	(void)noise;
	if (i == 1) {
		for (k = 0; k < n; k++)
			mean[k] = (output[k] + p->kept[0][k]) / 2;
		ddim_move(p, p->abar[0], p->abar[1], x, p->kept[START], mean, n);
	} else {
		int held = i == 0 ? 1 : i < ORDER ? i : ORDER;
		memcpy(sampler_remember(p, ORDER, n), output, n * sizeof(*output));
		if (i == 0) {
			p->kept[START] = xmalloc(n * sizeof(*x));
			memcpy(p->kept[START], x, n * sizeof(*x));
		}
		combine(p, held, mean, n);
		ddim_move(p, p->abar[i], p->abar[i + 1], x, x, mean, n);
	}
	free(mean);
}

const struct sampler sampler_pndm = {
	.name = "pndm", .label = "PLMS", .alias = { "plms" }, .ends_at_first = true, .evaluations = evaluations,
	.step_of = step_of, .step = pndm_step,
};
