/* Heun's method: two evaluations a step. */
#include <string.h>
#include "sampler_internal.h"

enum { START, SLOPE, KEEPS };   /* of the step under way */

static int evaluations(int steps)
{
	return 2 * steps - 1;           /* the last step ends at sigma 0, where there is no slope */
}

static int step_of(int i)
{
	return (i + 1) / 2;
}

/* Evaluates the slope where the step starts (even i), then where it would end (odd i), and steps from the start along
 * the mean of both (Karras et al. 2022, algorithm 1 without churn). */
static void first_look(struct sampler_plan *p, int i, float *x, const float *output, size_t n)
{
	float dt = p->sigma[i + 1] - p->sigma[i];
	size_t k;

	sampler_remember(p, KEEPS, n);
	sampler_remember(p, KEEPS, n);
	memcpy(p->kept[START], x, n * sizeof(*x));
	for (k = 0; k < n; k++) {
		p->kept[SLOPE][k] = sampler_slope(p, p->sigma[i], x[k], output[k]);
		x[k] += p->kept[SLOPE][k] * dt;
	}
}

static void second_look(struct sampler_plan *p, int i, float *x, const float *output, size_t n)
{
	float dt = p->sigma[i] - p->sigma[i - 1];
	size_t k;

	for (k = 0; k < n; k++)
		x[k] = p->kept[START][k] +
			(p->kept[SLOPE][k] + sampler_slope(p, p->sigma[i], x[k], output[k])) / 2 * dt;
}

static void heun_step(struct sampler_plan *p, int i, float *x, const float *output, const float *noise, size_t n)
{
	(void)noise;
	if (i % 2)
		second_look(p, i, x, output, n);
	else
		first_look(p, i, x, output, n);
}

const struct sampler sampler_heun = {
	.name = "heun", .label = "Heun", .exploding = true, .evaluations = evaluations, .step_of = step_of,
	.step = heun_step,
};
