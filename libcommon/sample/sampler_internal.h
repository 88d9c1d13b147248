/*
 * sampler_internal.h - what the files of samplers share: a row, and what a network's output means.
 *
 * Samplers work in one of two spaces.  Exploding: x = latent + sigma noise, any size (Karras et al. 2022).  Preserving:
 * x = sqrt(abar) latent + sqrt(1-abar) noise, unit variance, what the network reads.
 */
#ifndef SAMPLE_SAMPLER_INTERNAL_H
#define SAMPLE_SAMPLER_INTERNAL_H

#include "sampler.h"

struct sampler {
	const char *name, *label;       /* label: A1111's */
	const char *alias[3];           /* further names; "k_" before any is understood without being listed */
	bool exploding;
	bool noisy;                     /* adds noise in each step */
	bool ends_at_first;             /* its last target is timestep 0, not a latent without noise */
	int spare_steps;                /* timesteps are spaced for so many more, and the least noisy ones left out */
	int (*evaluations)(int steps);  /* NULL: one a step */
	int (*step_of)(int evaluation); /* whose timestep it is evaluated at */
	void (*step)(struct sampler_plan *p, int i, float *x, const float *output, const float *noise, size_t n);
};

extern const struct sampler sampler_euler, sampler_euler_a, sampler_heun, sampler_lms, sampler_ddim, sampler_pndm, sampler_dpmpp_2m;

/* Exploding: dx/dsigma, which is the predicted noise. */
float sampler_slope(const struct sampler_plan *p, float sigma, float x, float output);
/* Preserving: what x at abar is made of. */
struct parts { float latent, noise; };
struct parts sampler_parts(const struct sampler_plan *p, double abar, float x, float output);
/* Room for a new newest of `keeps` arrays, the oldest's: kept[0] [n], not cleared. */
float *sampler_remember(struct sampler_plan *p, int keeps, size_t n);
/* Preserving: out = x brought from abar `from` to abar `to` along the output (Song et al. 2020, eta 0); out may be x. */
void ddim_move(const struct sampler_plan *p, double from, double to, float *out, const float *x, const float *output, size_t n);

#endif
