/*
 * sampler.h - from noise to a latent: the evaluations of the network that a picture takes, and what each does to it.
 *
 * A sampler is a row, one file each (sampler_*.c).  A plan belongs to one picture: it holds what a sampler remembers between
 * evaluations.  Works on host memory (a latent is small).  Must not know networks, and draws no random numbers.
 */
#ifndef SAMPLE_SAMPLER_H
#define SAMPLE_SAMPLER_H

#include "../base/error.h"
#include "../model/noise_schedule.h"

struct sampler;                         /* a row */

enum { SAMPLER_KEEPS = 4 };

struct sampler_plan {
	const struct sampler *sampler;
	int steps;                      /* as asked for */
	int evaluations;                /* of the network: more than steps where a sampler looks twice */
	float *timestep;                /* [evaluations], what the UNet is told */
	float *sigma;                   /* [evaluations+1], noise over signal; where it ends last */
	double *abar;                   /* [evaluations+1] */
	float init_sigma;               /* the first noise is multiplied by it */
	bool v_prediction;
	float *kept[SAMPLER_KEEPS];     /* the sampler's own, newest first; [n] */
};

/* sd-scripts' names ("euler", "k_euler", "dpmsolver++") and ours; NULL: *e lists them and says which is near (EXIT_USAGE). */
const struct sampler *sampler_find(const char *name, struct error *e) MUST_CHECK;
const char *sampler_label(const struct sampler *s);     /* A1111's name: "Euler a" */

int sampler_evaluations(const struct sampler *s, int steps);    /* of the network */
/* As many steps as the noise schedule has timesteps, no more (EXIT_USAGE). */
int sampler_steps_check(const struct noise_schedule *n, int steps, struct error *e) MUST_CHECK;
/* diffusers' "leading" spacing: (steps-1-i) * (train_steps / steps) + offset; sigma = sqrt((1-abar)/abar) */
void sampler_plan_init(struct sampler_plan *p, const struct sampler *s, const struct noise_schedule *n, int steps, int offset);
void sampler_plan_free(struct sampler_plan *p);
/* What the UNet reads in evaluation i: scaled x. */
void sampler_input(const struct sampler_plan *p, int i, float *scaled, const float *x, size_t n);
/* Whether sampler_step() adds noise. */
bool sampler_wants_noise(const struct sampler_plan *p);
/* Evaluation i's output moves x.  In order, each once.  noise: N(0,1) [n] where it is wanted, else NULL. */
void sampler_step(struct sampler_plan *p, int i, float *x, const float *output, const float *noise, size_t n);

/* out = negative + cfg (positive - negative) */
void guide(float *out, const float *negative, const float *positive, float cfg, size_t n);

#endif
