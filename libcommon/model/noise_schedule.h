/*
 * noise_schedule.h - the noise schedule: how much noise each timestep has, and the target of the prediction (DDPM; Ho
 * et al. 2020).
 *
 * Training and sampling share it.  abar is the running product of 1 - beta; SNR = abar / (1 - abar).  Must not know
 * networks or samplers.
 */
#ifndef MODEL_NOISE_SCHEDULE_H
#define MODEL_NOISE_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include "config.h"

struct noise_schedule {
	int steps;                      /* train_steps */
	double *abar;                   /* [steps], host */
	enum prediction prediction;
	double shift;                   /* of a flow, which has no abar: flow.h */
};

void noise_schedule_init(struct noise_schedule *s, const struct schedule_config *c);
void noise_schedule_free(struct noise_schedule *s);
double noise_schedule_snr(const struct noise_schedule *s, int t);

/* noisy = sqrt(abar) x + sqrt(1 - abar) noise; n elements, host */
void noise_add(const struct noise_schedule *s, int t, float *noisy, const float *x, const float *noise, size_t n);
/* what the network must predict: the noise, or v = sqrt(abar) noise - sqrt(1 - abar) x */
void noise_target(const struct noise_schedule *s, int t, float *target, const float *x, const float *noise, size_t n);

#endif
