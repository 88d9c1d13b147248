/* The noise schedule: betas to abar, noising, and the target of the prediction. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "noise_schedule.h"

/* sqrt(abar) shifted so that the last is 0 and scaled so that the first stays (Lin et al. 2023, algorithm 1). */
static void rescale_to_zero_snr(double *abar, int n)
{
	double first = sqrt(abar[0]), last = sqrt(abar[n - 1]);
	int i;

	for (i = 0; i < n; i++) {
		double root = (sqrt(abar[i]) - last) * first / (first - last);
		abar[i] = root * root;
	}
}

/* torch.linspace in float32: counted from both ends */
static float linspace(float from, float to, int n, int i)
{
	float step = n > 1 ? (to - from) / (n - 1) : 0;

	return i < n / 2 ? from + step * i : to - step * (n - 1 - i);
}

/* Rounds where PyTorch rounds (betas and 1 - beta to float; the running product in double).  At t = 0 the beta of
 * 0.00085 has, as 1 - abar in float, an error of 3e-5, and every model was trained with that SNR. */
void noise_schedule_init(struct noise_schedule *s, const struct schedule_config *c)
{
	float from = c->scaled_linear ? sqrt(c->beta_start) : c->beta_start,
	      to = c->scaled_linear ? sqrt(c->beta_end) : c->beta_end;
	double product = 1;
	int i;

	s->steps = c->train_steps;
	s->prediction = c->prediction;
	s->shift = c->shift;
	s->abar = xmalloc(s->steps * sizeof(*s->abar));
	for (i = 0; i < s->steps; i++) {
		float beta = linspace(from, to, s->steps, i), alpha;
		if (c->scaled_linear)
			beta *= beta;
		alpha = 1 - beta;
		product *= alpha;
		s->abar[i] = (float)product;
	}
	if (c->zero_terminal_snr)
		rescale_to_zero_snr(s->abar, s->steps);
}

void noise_schedule_free(struct noise_schedule *s)
{
	free(s->abar);
	s->abar = NULL;
}

double noise_schedule_snr(const struct noise_schedule *s, int t)
{
	return s->abar[t] / (1 - s->abar[t]);
}

void noise_add(const struct noise_schedule *s, int t, float *noisy, const float *x, const float *noise, size_t n)
{
	float a = sqrt(s->abar[t]), b = sqrt(1 - s->abar[t]);
	size_t i;

	for (i = 0; i < n; i++)
		noisy[i] = a * x[i] + b * noise[i];
}

void noise_target(const struct noise_schedule *s, int t, float *target, const float *x, const float *noise, size_t n)
{
	float a = sqrt(s->abar[t]), b = sqrt(1 - s->abar[t]);
	size_t i;

	if (s->prediction == PREDICTION_EPSILON) {
		memcpy(target, noise, n * sizeof(*target));
		return;
	}
	for (i = 0; i < n; i++)
		target[i] = a * noise[i] - b * x[i];
}
