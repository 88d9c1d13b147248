/*
 * sampler.h - from noise to a latent: the timesteps of a run, and one step.
 *
 * One row a sampler in sampler.c.  Works on host memory (a latent is small).  Must not know networks.
 */
#ifndef SAMPLE_SAMPLER_H
#define SAMPLE_SAMPLER_H

#include "../base/error.h"
#include "../model/noise_schedule.h"

struct sampler;                         /* a row */

struct sampler_plan {
	const struct sampler *sampler;
	int steps;
	float *timestep;                /* [steps], what the UNet is told */
	float *sigma;                   /* [steps+1], the last 0 */
	float init_sigma;               /* the first noise is multiplied by it */
	bool v_prediction;
};

/* "euler"; NULL: *e lists what exists (EXIT_USAGE). */
const struct sampler *sampler_find(const char *name, struct error *e) MUST_CHECK;
const char *sampler_label(const struct sampler *s);     /* A1111's name: "Euler" */

/* diffusers' "leading" spacing: (steps-1-i) * (train_steps / steps) + offset; sigma = sqrt((1-abar)/abar) */
void sampler_plan_init(struct sampler_plan *p, const struct sampler *s, const struct noise_schedule *n, int steps, int offset);
void sampler_plan_free(struct sampler_plan *p);
/* What the UNet reads in step i: scaled x. */
void sampler_input(const struct sampler_plan *p, int i, float *scaled, const float *x, size_t n);
/* Step i: x from timestep i to i+1, given the network's output. */
void sampler_step(const struct sampler_plan *p, int i, float *x, const float *output, size_t n);

/* out = negative + cfg (positive - negative) */
void guide(float *out, const float *negative, const float *positive, float cfg, size_t n);

#endif
