#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "sampler.h"

struct sampler {
	const char *name, *label;
	void (*input)(const struct sampler_plan *p, int i, float *scaled, const float *x, size_t n);
	void (*step)(const struct sampler_plan *p, int i, float *x, const float *output, size_t n);
};

/* Karras' variance-exploding x = latent + sigma noise, brought to the unit variance that the UNet was trained on */
static void scaled_by_sigma(const struct sampler_plan *p, int i, float *scaled, const float *x, size_t n)
{
	float s = sqrtf(p->sigma[i] * p->sigma[i] + 1);
	size_t k;

	for (k = 0; k < n; k++)
		scaled[k] = x[k] / s;
}

/* dx/dsigma: the predicted noise, or from v: x0 = x / (s^2+1) - v s / sqrt(s^2+1), noise = (x - x0) / s */
static float derivative(const struct sampler_plan *p, float sigma, float x, float output)
{
	float variance = sigma * sigma + 1;

	if (!p->v_prediction)
		return output;
	return (x - (x / variance - output * sigma / sqrtf(variance))) / sigma;
}

static void euler_step(const struct sampler_plan *p, int i, float *x, const float *output, size_t n)
{
	float dt = p->sigma[i + 1] - p->sigma[i];
	size_t k;

	for (k = 0; k < n; k++)
		x[k] += derivative(p, p->sigma[i], x[k], output[k]) * dt;
}

static const struct sampler samplers[] = {
	{ "euler", "Euler", scaled_by_sigma, euler_step },
};

const struct sampler *sampler_find(const char *name, struct error *e)
{
	size_t i;

	for (i = 0; i < sizeof(samplers) / sizeof(*samplers); i++)
		if (!strcmp(samplers[i].name, name) || (!strncmp(name, "k_", 2) && !strcmp(samplers[i].name, name + 2)))
			return &samplers[i];
	fail(e, EXIT_USAGE, "sampler '%s' is not yet implemented; use euler", name);
	return NULL;
}

const char *sampler_label(const struct sampler *s)
{
	return s->label;
}

void sampler_plan_init(struct sampler_plan *p, const struct sampler *s, const struct noise_schedule *n, int steps, int offset)
{
	int i, ratio = n->steps / steps;

	*p = (struct sampler_plan){ .sampler = s, .steps = steps, .v_prediction = n->v_prediction };
	p->timestep = xmalloc(steps * sizeof(*p->timestep));
	p->sigma = xcalloc(steps + 1, sizeof(*p->sigma));
	for (i = 0; i < steps; i++) {
		int t = (steps - 1 - i) * ratio + offset;
		double abar = n->abar[t < n->steps ? t : n->steps - 1];
		p->timestep[i] = t;
		p->sigma[i] = sqrt((1 - abar) / abar);
	}
	p->init_sigma = sqrtf(p->sigma[0] * p->sigma[0] + 1);
}

void sampler_plan_free(struct sampler_plan *p)
{
	free(p->timestep);
	free(p->sigma);
	*p = (struct sampler_plan){ 0 };
}

void sampler_input(const struct sampler_plan *p, int i, float *scaled, const float *x, size_t n)
{
	p->sampler->input(p, i, scaled, x, n);
}

void sampler_step(const struct sampler_plan *p, int i, float *x, const float *output, size_t n)
{
	p->sampler->step(p, i, x, output, n);
}

void guide(float *out, const float *negative, const float *positive, float cfg, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		out[i] = negative[i] + cfg * (positive[i] - negative[i]);
}
