/*
 * objective.h - what a step trains on: timestep, noise, target and weight of each sample.
 *
 * Every draw is a pure function of (seed, step, sample's place in the step), so nothing but those numbers needs saving.
 * Must not know networks or files.
 */
#ifndef TRAIN_OBJECTIVE_H
#define TRAIN_OBJECTIVE_H

#include <stdint.h>
#include "../model/noise_schedule.h"

/* Weights by timestep; SNR' = min(SNR, 1000). */
double weight_debiased(const struct noise_schedule *s, int t);                  /* 1/sqrt(SNR'); v prediction: 1/(SNR'+1) */
double weight_min_snr(const struct noise_schedule *s, int t, double gamma);     /* min(SNR,gamma)/SNR; v: /(SNR+1) */

struct objective {
	struct noise_schedule schedule;
	bool debiased;
	double min_snr_gamma;           /* 0: off */
	float scaling_factor;           /* the VAE's */
	uint64_t seed;
};

/* One sample of a step: from a latent's mean and std [n] (n = c*h*w, any layout, kept) to noisy, target, timestep, weight. */
void objective_sample(const struct objective *o, uint32_t step, uint32_t item, const float *mean, const float *std, size_t n,
		      float *noisy, float *target, float *timestep, float *weight);

#endif
