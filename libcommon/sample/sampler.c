/* Samplers: finding one by name, the plan of a picture, one evaluation. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/map.h"
#include "../base/memory.h"
#include "../model/flow.h"
#include "sampler_internal.h"

static const struct sampler *const samplers[] = {
	&sampler_euler, &sampler_euler_a, &sampler_ddim, &sampler_dpmpp_2m, &sampler_heun, &sampler_lms, &sampler_pndm,
};

enum { SAMPLERS = sizeof(samplers) / sizeof(*samplers) };

/* ---- names ---- */

static bool is_named(const struct sampler *s, const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(s->alias) / sizeof(*s->alias); i++)
		if (s->alias[i] && !strcmp(s->alias[i], name))
			return true;
	return !strcmp(s->name, name);
}

static void all_names(const char *names[SAMPLERS])
{
	for (int i = 0; i < SAMPLERS; i++)
		names[i] = samplers[i]->name;
}

struct names sampler_names(void)
{
	const char *names[SAMPLERS];

	all_names(names);
	return names_joined(names, sizeof(*names), SAMPLERS, ", ", " or ");
}

const char *sampler_choices(void)
{
	static struct names choices;
	const char *names[SAMPLERS];

	all_names(names);
	choices = names_joined(names, sizeof(*names), SAMPLERS, "|", "|");
	return choices.text;
}

static int unknown(const char *name, struct error *e)
{
	const char *names[SAMPLERS], *nearest;

	all_names(names);
	nearest = nearest_name(name, names, SAMPLERS);
	return fail(e, EXIT_USAGE, "no sampler is called '%s'%s%s%s; there are %s", name,
		    nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "",
		    names_joined(names, sizeof(*names), SAMPLERS, ", ", ", ").text);
}

const struct sampler *sampler_find(const char *name, struct error *e)
{
	const char *plain = strncmp(name, "k_", 2) ? name : name + 2;
	int i;

	for (i = 0; i < SAMPLERS; i++)
		if (is_named(samplers[i], plain))
			return samplers[i];
	(void)unknown(name, e);
	return NULL;
}

const char *sampler_label(const struct sampler *s)
{
	return s->label;
}

/* ---- the plan ---- */

int sampler_evaluations(const struct sampler *s, int steps)
{
	return s->evaluations ? s->evaluations(steps) : steps;
}

int sampler_steps_check(const struct noise_schedule *n, int steps, struct error *e)
{
	if (steps <= n->steps)
		return 0;
	return fail(e, EXIT_USAGE, "%d steps, but the model's noise schedule has %d timesteps; take fewer", steps,
		    n->steps);
}

/* With a schedule of zero terminal SNR, sigma is infinite at the last timestep, and predicted noise tells nothing about
 * the latent.  A very small signal is assumed there, as in diffusers.  Only DDIM's step on v does without. */
static double some_signal(const struct sampler *s, const struct noise_schedule *n, double abar)
{
	return (n->prediction != PREDICTION_V || !s->ends_at_first) && abar < 0x1p-24 ? 0x1p-24 : abar;
}

static void set_time(struct sampler_plan *p, int i, double timestep, double abar)
{
	if (i < p->evaluations)
		p->timestep[i] = timestep;
	p->abar[i] = abar;
	p->sigma[i] = sqrt((1 - abar) / abar);
}

int sampler_prediction_check(const struct sampler *s, enum prediction p, struct error *e)
{
	if (s->flows || p != PREDICTION_FLOW)
		return 0;
	return fail(e, EXIT_USAGE, "the sampler '%s' is not there for a model of rectified flow; euler is", s->name);
}

/* As diffusers' FlowMatchEulerDiscreteScheduler: even places between the shifted ends of its thousand,
 * and those shifted again. */
static void plan_flow(struct sampler_plan *p, double shift)
{
	const double least = flow_shift(1.0 / FLOW_TIMESTEPS, shift);

	for (int i = 0; i < p->steps; i++) {
		const double even = p->steps > 1 ? 1 + (least - 1) * i / (p->steps - 1) : 1;
		const double sigma = flow_shift(even, shift);

		p->sigma[i] = sigma;
		p->timestep[i] = FLOW_TIMESTEPS * sigma;
	}
	p->init_sigma = 1;
}

static void plan_noise(struct sampler_plan *p, const struct noise_schedule *n, int offset)
{
	const struct sampler *s = p->sampler;
	const int spaced = p->steps + s->spare_steps, ratio = n->steps / spaced ? n->steps / spaced : 1;
	const int most = n->steps - 1 - (spaced - 1) * ratio;

	for (int i = 0; i < p->evaluations; i++) {
		int step = s->step_of ? s->step_of(i) : i;
		int t = (spaced - 1 - step) * ratio + (offset < most ? offset : most);
		set_time(p, i, t, some_signal(s, n, n->abar[t]));
	}
	set_time(p, p->evaluations, 0, s->ends_at_first ? n->abar[0] : 1);
	p->init_sigma = s->exploding ? sqrtf(p->sigma[0] * p->sigma[0] + 1) : 1;
}

void sampler_plan_init(struct sampler_plan *p, const struct sampler *s, const struct noise_schedule *n, int steps,
		       int offset)
{
	*p = (struct sampler_plan){ .sampler = s, .steps = steps, .prediction = n->prediction };
	p->evaluations = sampler_evaluations(s, steps);
	p->timestep = xcalloc(p->evaluations, sizeof(*p->timestep));
	p->sigma = xcalloc(p->evaluations + 1, sizeof(*p->sigma));
	p->abar = xcalloc(p->evaluations + 1, sizeof(*p->abar));
	if (n->prediction == PREDICTION_FLOW)
		plan_flow(p, n->shift);
	else
		plan_noise(p, n, offset);
}

int sampler_plan_strength(struct sampler_plan *p, double strength, struct error *e)
{
	const int run = p->steps * strength;

	if (strength >= 1)
		return 0;
	if (p->evaluations != p->steps || !p->sampler->exploding)
		return fail(e, EXIT_USAGE, "a strength below 1 is there with euler and euler_a, not with '%s'",
			    p->sampler->name);
	if (run < 1)
		return fail(e, EXIT_USAGE, "strength %g of %d steps leaves none to run; raise one of them", strength,
			    p->steps);
	p->first = p->steps - run;
	return 0;
}

void sampler_begin(const struct sampler_plan *p, float *x, const float *latent, const float *noise, size_t n)
{
	const float sigma = p->sigma[p->first];

	if (!latent)
		for (size_t i = 0; i < n; i++)
			x[i] = noise[i] * p->init_sigma;
	else if (p->prediction == PREDICTION_FLOW)
		flow_add(sigma, x, latent, noise, n);
	else
		for (size_t i = 0; i < n; i++)
			x[i] = latent[i] + sigma * noise[i];
}

void sampler_plan_free(struct sampler_plan *p)
{
	int i;

	for (i = 0; i < SAMPLER_KEEPS; i++)
		free(p->kept[i]);
	free(p->timestep);
	free(p->sigma);
	free(p->abar);
	*p = (struct sampler_plan){ 0 };
}

float *sampler_remember(struct sampler_plan *p, int keeps, size_t n)
{
	float *oldest = p->kept[keeps - 1];

	memmove(p->kept + 1, p->kept, (keeps - 1) * sizeof(*p->kept));
	return p->kept[0] = oldest ? oldest : xmalloc(n * sizeof(*oldest));
}

/* ---- one evaluation ---- */

float sampler_slope(const struct sampler_plan *p, float sigma, float x, float output)
{
	float variance = sigma * sigma + 1;

	if (p->prediction != PREDICTION_V)
		return output;
	return (x - (x / variance - output * sigma / sqrtf(variance))) / sigma;
}

struct parts sampler_parts(const struct sampler_plan *p, double abar, float x, float output)
{
	float a = sqrt(abar), b = sqrt(1 - abar);

	if (p->prediction == PREDICTION_V)
		return (struct parts){ a * x - b * output, a * output + b * x };
	return (struct parts){ (x - b * output) / a, output };
}

void sampler_input(const struct sampler_plan *p, int i, float *scaled, const float *x, size_t n)
{
	float s = p->sampler->exploding && p->prediction != PREDICTION_FLOW ? sqrtf(p->sigma[i] * p->sigma[i] + 1) : 1;
	size_t k;

	for (k = 0; k < n; k++)
		scaled[k] = x[k] / s;
}

bool sampler_adds_noise(const struct sampler *s)
{
	return s->noisy;
}

bool sampler_wants_noise(const struct sampler_plan *p)
{
	return sampler_adds_noise(p->sampler);
}

void sampler_step(struct sampler_plan *p, int i, float *x, const float *output, const float *noise, size_t n)
{
	p->sampler->step(p, i, x, output, noise, n);
}

void guide(float *out, const float *negative, const float *positive, float cfg, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		out[i] = negative[i] + cfg * (positive[i] - negative[i]);
}
