/*
 * sampler_internal.h - a sampler's row, and helpers that the samplers share.  Private to sampler*.c.
 *
 * A sampler works in one of two spaces.  Variance exploding: x = latent + sigma noise, of any size (Karras et al.
 * 2022).  Variance preserving: x = sqrt(abar) latent + sqrt(1-abar) noise, of unit variance, which the network reads.
 */
#ifndef SAMPLE_SAMPLER_INTERNAL_H
#define SAMPLE_SAMPLER_INTERNAL_H

#include "sampler.h"

struct sampler {
	const char *name, *label;       /* label: A1111's */
	const char *alias[3];           /* further names; "k_" before any is understood without being listed */
	bool exploding;
	bool noisy;                     /* adds noise in each step */
	bool flows;                     /* takes a flow's places as well: it goes along dx/dsigma */
	bool ends_at_first;             /* its last target is timestep 0, not a latent without noise */
	int spare_steps;                /* timesteps are spaced for so many more, and the least noisy are dropped */
	int (*evaluations)(int steps);  /* NULL: one a step */
	int (*step_of)(int evaluation); /* the step at whose timestep it takes place; NULL: the same number */
	void (*step)(struct sampler_plan *p, int i, float *x, const float *output, const float *noise, size_t n);
};

extern const struct sampler sampler_euler, sampler_euler_a, sampler_heun, sampler_lms, sampler_ddim, sampler_pndm,
	sampler_dpmpp_2m;

/* Exploding: dx/dsigma, which is the predicted noise. */
float sampler_slope(const struct sampler_plan *p, float sigma, float x, float output);
/* Preserving: the latent and the noise of which x at abar is made, as the output predicts them. */
struct parts { float latent, noise; };
struct parts sampler_parts(const struct sampler_plan *p, double abar, float x, float output);
/* Shifts the history of `keeps` arrays by one and returns kept[0] [n], for the newest: the memory of the oldest, not
 * cleared. */
float *sampler_remember(struct sampler_plan *p, int keeps, size_t n);
/* Preserving: moves x from abar `from` to abar `to` along the output (Song et al. 2020, eta 0).  out may be x. */
void ddim_move(const struct sampler_plan *p, double from, double to, float *out, const float *x, const float *output,
	       size_t n);

#endif
