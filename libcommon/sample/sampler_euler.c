/* Euler's method, and its ancestral variant. */
#include <math.h>
#include "sampler_internal.h"

/* Euler's method on dx/dsigma (Karras et al. 2022, algorithm 1 without the second-order correction). */
static void euler_step(struct sampler_plan *p, int i, float *x, const float *output, const float *noise, size_t n)
{
	float dt = p->sigma[i + 1] - p->sigma[i];
	size_t k;

	(void)noise;
	for (k = 0; k < n; k++)
		x[k] += sampler_slope(p, p->sigma[i], x[k], output[k]) * dt;
}

/* Ancestral: steps to a lower sigma than the next one, and adds noise up to that. */
static void euler_a_step(struct sampler_plan *p, int i, float *x, const float *output, const float *noise, size_t n)
{
	double from = p->sigma[i], to = p->sigma[i + 1];
	float up = sqrt(to * to * (from * from - to * to) / (from * from)), dt = sqrt(to * to - (double)up * up) - from;
	size_t k;

	for (k = 0; k < n; k++)
		x[k] += sampler_slope(p, from, x[k], output[k]) * dt + noise[k] * up;
}

const struct sampler sampler_euler = { .name = "euler", .label = "Euler", .exploding = true, .flows = true,
				       .step = euler_step };
const struct sampler sampler_euler_a = { .name = "euler_a", .label = "Euler a", .exploding = true, .noisy = true,
					 .step = euler_a_step };
