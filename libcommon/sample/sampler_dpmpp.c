/* DPM-Solver++ 2M (Lu et al. 2022). */
#include <math.h>
#include "../base/elementary.h"
#include "sampler_internal.h"

enum { NOW, BEFORE, KEEPS };    /* predicted latents */

/* The factor by which the newest prediction is extrapolated from the one before: half the ratio of the steps' lengths
 * in log sigma.  0 (first order) in the first step, and in the last one, whose length is infinite. */
static float extrapolation(const struct sampler_plan *p, int i)
{
	if (i == 0 || i == p->evaluations - 1 || p->sigma[i] >= p->sigma[i - 1])
		return 0;
	return plain_log((double)p->sigma[i] / p->sigma[i + 1]) / plain_log((double)p->sigma[i - 1] / p->sigma[i]) / 2;
}

/* DPM-Solver++ of second order, multistep, midpoint (Lu et al. 2022, algorithm 2). */
static void dpmpp_step(struct sampler_plan *p, int i, float *x, const float *output, const float *noise, size_t n)
{
	double from = p->sigma[i], to = p->sigma[i + 1],
	       from_scale = 1 / sqrt(from * from + 1), to_scale = 1 / sqrt(to * to + 1);
	float keep = to * to_scale / (from * from_scale), move = to_scale * (1 - to / from),
	      further = extrapolation(p, i);
	float *latent = sampler_remember(p, KEEPS, n);
	const float *before = further ? p->kept[BEFORE] : latent;
	size_t k;

	(void)noise;
	for (k = 0; k < n; k++) {
		latent[k] = sampler_parts(p, p->abar[i], x[k], output[k]).latent;
		x[k] = keep * x[k] + move * (latent[k] + further * (latent[k] - before[k]));
	}
}

const struct sampler sampler_dpmpp_2m = {
	.name = "dpm++2m", .label = "DPM++ 2M", .alias = { "dpmsolver++", "dpmpp_2m", "dpm++_2m" }, .spare_steps = 1,
	.step = dpmpp_step,
};
