/*
 * sampler.h - samplers: how the outputs of a denoising network turn noise into a latent.
 *
 * A sampler is a row, in a file of its own (sampler_*.c).  A plan belongs to one picture: its timesteps, and what the
 * sampler stores between evaluations of the network.  Works in host memory, since a latent is small.  Must not know
 * networks, and draws no random numbers.
 */
#ifndef SAMPLE_SAMPLER_H
#define SAMPLE_SAMPLER_H

#include "../base/error.h"
#include "../base/names.h"
#include "../model/noise_schedule.h"

struct sampler;                         /* a row */

enum { SAMPLER_KEEPS = 4 };

struct sampler_plan {
	const struct sampler *sampler;
	int steps;                      /* as asked for */
	int evaluations;                /* of the network; more than steps where a sampler evaluates twice a step */
	int first;                      /* where it begins: above 0, some of a picture stays */
	float *timestep;                /* [evaluations], what the UNet is told */
	float *sigma;                   /* [evaluations+1], noise over signal; the last is where the picture ends */
	double *abar;                   /* [evaluations+1] */
	float init_sigma;               /* the first noise is multiplied by it */
	enum prediction prediction;
	float *kept[SAMPLER_KEEPS];     /* the sampler's own, newest first; [n] */
};

struct names sampler_names(void);       /* "euler, ... or pndm" */
const char *sampler_choices(void);      /* "euler|...|pndm" for an option table */
/* Finds a sampler by sd-scripts' names ("euler", "k_euler", "dpmsolver++") or ours.  NULL: *e lists the names, with the
 * nearest first (EXIT_USAGE). */
const struct sampler *sampler_find(const char *name, struct error *e) MUST_CHECK;
const char *sampler_label(const struct sampler *s);     /* A1111's name: "Euler a" */

int sampler_evaluations(const struct sampler *s, int steps);    /* of the network */
/* EXIT_USAGE where there are more steps than the noise schedule has timesteps. */
int sampler_steps_check(const struct noise_schedule *n, int steps, struct error *e) MUST_CHECK;
/* Whether it goes with what the model predicts (EXIT_USAGE). */
int sampler_prediction_check(const struct sampler *s, enum prediction p, struct error *e) MUST_CHECK;
/* A flow: sigmas as in diffusers' Euler for flows, the last 0.  Others: diffusers' "leading" spacing,
 * timestep = (steps-1-i) * (train_steps / steps) + offset; sigma = sqrt((1-abar)/abar) */
void sampler_plan_init(struct sampler_plan *p, const struct sampler *s, const struct noise_schedule *n, int steps,
		       int offset);
/* Begin so that only int(steps * strength) steps are run, the last ones; EXIT_USAGE where none is left, or the sampler
 * cannot. */
int sampler_plan_strength(struct sampler_plan *p, double strength, struct error *e) MUST_CHECK;
/* Where it begins: noise alone, or the picture's latent under that much noise. */
void sampler_begin(const struct sampler_plan *p, float *x, const float *latent, const float *noise, size_t n);
void sampler_plan_free(struct sampler_plan *p);
/* Sets `scaled` to what the UNet reads in evaluation i: x, scaled. */
void sampler_input(const struct sampler_plan *p, int i, float *scaled, const float *x, size_t n);
/* Does sampler_step() add noise? */
bool sampler_adds_noise(const struct sampler *s);
bool sampler_wants_noise(const struct sampler_plan *p);
/* Updates x with the output of evaluation i; called for each i once, in order.  noise: N(0,1) [n] where the sampler
 * wants it, else NULL. */
void sampler_step(struct sampler_plan *p, int i, float *x, const float *output, const float *noise, size_t n);

/* Classifier-free guidance: out = negative + cfg (positive - negative). */
void guide(float *out, const float *negative, const float *positive, float cfg, size_t n);

#endif
