#include <math.h>
#include <stdlib.h>
#include "../base/memory.h"
#include "../base/philox.h"
#include "objective.h"

#define SNR_CAP 1000

static double capped_snr(const struct noise_schedule *s, int t)
{
	double snr = noise_schedule_snr(s, t);

	return snr < SNR_CAP ? snr : SNR_CAP;
}

double weight_debiased(const struct noise_schedule *s, int t)
{
	double snr = capped_snr(s, t);

	return s->v_prediction ? 1 / (snr + 1) : 1 / sqrt(snr);
}

double weight_min_snr(const struct noise_schedule *s, int t, double gamma)
{
	double snr = noise_schedule_snr(s, t);

	return (snr < gamma ? snr : gamma) / (s->v_prediction ? snr + 1 : snr);
}

void objective_sample(const struct objective *o, uint32_t step, uint32_t item, const float *mean, const float *std, size_t n,
		      float *noisy, float *target, float *timestep, float *weight)
{
	struct random timestep_draw = { o->seed, RANDOM_TIMESTEP, step, item };
	struct random latent_draw = { o->seed, RANDOM_LATENT, step, item };
	struct random noise_draw = { o->seed, RANDOM_NOISE, step, item };
	int t = random_below(&timestep_draw, 0, o->schedule.steps);
	float *latent = xmalloc(n * sizeof(float)), *noise = xmalloc(n * sizeof(float));
	size_t i;

	random_normal(&latent_draw, latent, n);
	random_normal(&noise_draw, noise, n);
	for (i = 0; i < n; i++)
		latent[i] = (mean[i] + std[i] * latent[i]) * o->scaling_factor;
	noise_add(&o->schedule, t, noisy, latent, noise, n);
	noise_target(&o->schedule, t, target, latent, noise, n);
	*timestep = t;
	*weight = 1;
	if (o->debiased)
		*weight *= weight_debiased(&o->schedule, t);
	if (o->min_snr_gamma > 0)
		*weight *= weight_min_snr(&o->schedule, t, o->min_snr_gamma);
	free(latent);
	free(noise);
}
