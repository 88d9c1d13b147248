/*
 * objective.h - the objective: timestep, noise, target and weight of each sample, and the kind of loss.
 *
 * Every draw is a pure function of (seed, step, sample's place in the step), so nothing but those numbers needs saving.
 * Must not know networks or files.
 */
#ifndef TRAIN_OBJECTIVE_H
#define TRAIN_OBJECTIVE_H

#include <stdint.h>
#include "../backend.h"
#include "../model/noise_schedule.h"
#include "noise.h"

/* Weights by timestep; SNR' = min(SNR, 1000). */
/* 1/sqrt(SNR'); v prediction: 1/(SNR'+1) */
double weight_debiased(const struct noise_schedule *s, int t);
double weight_min_snr(const struct noise_schedule *s, int t, double gamma);     /* min(SNR,gamma)/SNR; v: /(SNR+1) */
double weight_scale_v(const struct noise_schedule *s, int t);                   /* SNR'/(SNR'+1) */
double weight_v_like(const struct noise_schedule *s, int t, double k);          /* 1 + k (SNR'+1)/SNR' */

/* The c of the huber losses, by timestep. */
enum huber_schedule { HUBER_CONSTANT, HUBER_EXPONENTIAL, HUBER_SNR };
double huber_c(const struct noise_schedule *s, int t, enum huber_schedule kind, double c, double scale);

struct objective {
	struct noise_schedule schedule;         /* what is trained on */
	/* before the fix to zero terminal SNR: sd-scripts takes its weights from there */
	struct noise_schedule plain;
	int min_timestep, max_timestep;         /* drawn from min..max-1 */
	bool logit_normal;                      /* the sigmas of a flow; else evenly */
	double logit_mean, logit_std, shift;
	bool debiased, scale_v_like_noise;
	double min_snr_gamma, v_like;           /* 0: off */
	struct noise_settings noise;
	enum loss_kind loss;
	enum huber_schedule huber_schedule;
	double huber_c, huber_scale;
	float scaling_factor;                   /* the VAE's */
	uint64_t seed;
};

/* One sample of a step: from a latent's mean and std [h,w,c] to the rest. */
struct objective_sample {
	const float *mean, *std;
	int h, w, c;
	float *noisy, *target;                  /* [h,w,c], the caller's */
	float timestep, weight, loss_c;         /* loss_c: huber losses */
};
void objective_sample(const struct objective *o, uint32_t step, uint32_t item, struct objective_sample *s);
/* Sets noisy, target and timestep alone, without random draws: at this fraction of the schedule, from a scaled latent
 * and noise [h,w,c]. */
void objective_still(const struct objective *o, double part, const float *latent, const float *noise, size_t n,
		     struct objective_sample *s);

#endif
