/* The objective: timestep, noise, target and weight of a sample; weights by timestep; huber_c. */
#include <math.h>
#include <stdlib.h>
#include "../base/elementary.h"
#include "../base/memory.h"
#include "../base/philox.h"
#include "../model/flow.h"
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

	return s->prediction == PREDICTION_V ? 1 / (snr + 1) : 1 / sqrt(snr);
}

double weight_min_snr(const struct noise_schedule *s, int t, double gamma)
{
	double snr = noise_schedule_snr(s, t);

	return (snr < gamma ? snr : gamma) / (s->prediction == PREDICTION_V ? snr + 1 : snr);
}

double weight_scale_v(const struct noise_schedule *s, int t)
{
	double snr = capped_snr(s, t);

	return snr / (snr + 1);
}

double weight_v_like(const struct noise_schedule *s, int t, double k)
{
	return 1 + k / weight_scale_v(s, t);
}

double huber_c(const struct noise_schedule *s, int t, enum huber_schedule kind, double c, double scale)
{
	double sigma;

	switch (kind) {
	case HUBER_CONSTANT:
		return c * scale;
	case HUBER_EXPONENTIAL:
		return plain_exp(t * plain_log(c) / s->steps) * scale;
	default:
		sigma = sqrt((1 - s->abar[t]) / s->abar[t]);
		return (1 - c) / ((1 + sigma) * (1 + sigma)) + c;
	}
}

/* The weight of a timestep: the product of those that are on. */
static float weight(const struct objective *o, int t)
{
	float w = 1;

	if (o->debiased)
		w *= weight_debiased(&o->plain, t);
	if (o->min_snr_gamma > 0)
		w *= weight_min_snr(&o->plain, t, o->min_snr_gamma);
	if (o->scale_v_like_noise)
		w *= weight_scale_v(&o->plain, t);
	if (o->v_like > 0)
		w *= weight_v_like(&o->plain, t, o->v_like);
	return w;
}

/* Where on the way from latent to noise: a timestep, or a flow's sigma. */
struct place { int t; double sigma; };

static double draw_sigma(const struct objective *o, const struct random *draw)
{
	float x;

	if (o->logit_normal) {
		random_normal(draw, &x, 1);
		return flow_shift(flow_logit_normal(x, o->logit_mean, o->logit_std), o->shift);
	}
	random_uniforms(draw, &x, 1, 0, 1);
	return flow_shift(x, o->shift);
}

static struct place draw_place(const struct objective *o, uint32_t step, uint32_t item)
{
	const struct random draw = { o->seed, RANDOM_TIMESTEP, step, item };

	if (o->schedule.prediction == PREDICTION_FLOW)
		return (struct place){ .sigma = draw_sigma(o, &draw) };
	return (struct place){ .t = o->min_timestep + random_below(&draw, 0, o->max_timestep - o->min_timestep) };
}

static void mix(const struct objective *o, struct place at, const float *latent, const float *noise, const float *input,
		size_t n, struct objective_sample *s)
{
	if (o->schedule.prediction == PREDICTION_FLOW) {
		flow_add(at.sigma, s->noisy, latent, input, n);
		flow_target(s->target, latent, noise, n);
		s->timestep = FLOW_TIMESTEPS * at.sigma;
		return;
	}
	noise_add(&o->schedule, at.t, s->noisy, latent, input, n);
	noise_target(&o->schedule, at.t, s->target, latent, noise, n);
	s->timestep = at.t;
}

void objective_sample(const struct objective *o, uint32_t step, uint32_t item, struct objective_sample *s)
{
	const struct random latent_draw = { o->seed, RANDOM_LATENT, step, item };
	const struct noise_draw draw = { o->seed, step, item };
	const struct noise_shape shape = { s->h, s->w, s->c };
	const struct place at = draw_place(o, step, item);
	const size_t n = (size_t)s->h * s->w * s->c;
	float *latent = xmalloc(n * sizeof(float)), *noise = xmalloc(n * sizeof(float));
	float *input = xmalloc(n * sizeof(float));
	size_t i;

	random_normal(&latent_draw, latent, n);
	for (i = 0; i < n; i++)
		latent[i] = (s->mean[i] + s->std[i] * latent[i]) * o->scaling_factor;
	noise_draw_plain(&draw, noise, n);
	noise_change(&o->noise, &draw, latent, &shape, noise);
	if (o->noise.ip_gamma)
		noise_input(&o->noise, &draw, noise, n, input);
	mix(o, at, latent, noise, o->noise.ip_gamma ? input : noise, n, s);
	s->weight = weight(o, at.t);
	s->loss_c = huber_c(&o->schedule, s->timestep, o->huber_schedule, o->huber_c, o->huber_scale);
	free(latent);
	free(noise);
	free(input);
}

void objective_still(const struct objective *o, double part, const float *latent, const float *noise, size_t n,
		     struct objective_sample *s)
{
	mix(o, (struct place){ part * o->schedule.steps, part }, latent, noise, noise, n, s);
}
