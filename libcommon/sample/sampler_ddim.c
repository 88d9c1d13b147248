/* DDIM (Song et al. 2020), eta 0. */
#include <math.h>
#include <string.h>
#include "sampler_internal.h"

void ddim_move(const struct sampler_plan *p, double from, double to, float *out, const float *x, const float *output,
	       size_t n)
{
	float a = sqrt(to), b = sqrt(1 - to);
	size_t k;

	for (k = 0; k < n; k++) {
		struct parts parts = sampler_parts(p, from, x[k], output[k]);
		out[k] = a * parts.latent + b * parts.noise;
	}
}

static void ddim_step(struct sampler_plan *p, int i, float *x, const float *output, const float *noise, size_t n)
{
	(void)noise;
	ddim_move(p, p->abar[i], p->abar[i + 1], x, x, output, n);
}

const struct sampler sampler_ddim = { .name = "ddim", .label = "DDIM", .ends_at_first = true, .step = ddim_step };
