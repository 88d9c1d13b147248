/* flow.c - rectified flow: places on the way from latent to noise, what is read there and what is learnt. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/io/json.h"
#include "../../libcommon/model/flow.h"
#include "../../libcommon/nn/ops.h"
#include "subject.h"

struct flow { struct subject *s; const struct safetensors *f; float *sigma, *latent, *noise, *normal; size_t n, each; };

/* By name, each with its numbers: shift; mean, std and shift. */
static bool compute(const struct flow *x, const char *name, size_t count, float *out)
{
	double a, b, shift = 1;
	int end = 0;

	if (sscanf(name, "sigma.shift%lf%n", &a, &end) == 1 && !name[end]) {
		for (size_t i = 0; i < count; i++)
			out[i] = flow_shift(x->sigma[i], a);
	} else if (sscanf(name, "noisy.shift%lf%n", &a, &end) == 1 && !name[end]) {
		for (size_t i = 0; i < x->n; i++)
			flow_add(flow_shift(x->sigma[i], a), out + i * x->each, x->latent + i * x->each,
				 x->noise + i * x->each, x->each);
	} else if (!strcmp(name, "target")) {
		flow_target(out, x->latent, x->noise, count);
	} else if (!strcmp(name, "timestep")) {
		for (size_t i = 0; i < count; i++)
			out[i] = FLOW_TIMESTEPS * (double)x->sigma[i];
	} else if (sscanf(name, "logit_normal.m%lf.s%lf%n", &a, &b, &end) == 2 &&
		   (!name[end] || sscanf(name + end, ".shift%lf", &shift) == 1)) {
		for (size_t i = 0; i < count; i++)
			out[i] = flow_shift(flow_logit_normal(x->normal[i], a, b), shift);
	} else {
		return false;
	}
	return true;
}

static void check(const struct flow *x, const struct safetensor *r)
{
	static const char *const others[] = { "int999", "diffusers_scripts", "denoised", "loss", "pred" };
	const size_t n = safetensor_elements(r);
	float *got = xcalloc(n, sizeof(*got)), *want = r->dtype == DTYPE_F32 ? need_floats(x->f, r->name) : NULL;
	struct spread spread = { 0 };

	if (want && compute(x, r->name, n, got)) {
		spread_add(&spread, got, want, n);
		judge(x->s->tally, KIND_LOSSES, &spread, "%s noising %s", x->s->label, r->name);
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (strstr(r->name, others[i]))
			looked_at(x->f, r);     /* what other programs do, and what follows from the rest */
	free(got);
	free(want);
}

/* "diffusers.shiftK.STEPS" of schedules.json; the others are other programs' */
static void check_schedule(struct subject *s, const char *name, const json_t *values)
{
	const json_t *sigmas = json_object_get(values, "sigmas");
	struct noise_schedule n = { .steps = FLOW_TIMESTEPS, .prediction = PREDICTION_FLOW };
	struct sampler_plan plan;
	struct spread sigma = { 0 }, timestep = { 0 };
	struct error e = { 0 };
	int steps;

	if (sscanf(name, "diffusers.shift%lf.%d", &n.shift, &steps) != 2)
		return;
	sampler_plan_init(&plan, sampler_find("euler", &e), &n, steps, 0);
	for (int i = 0; i <= steps; i++) {
		const float want = json_number_value(json_array_get(sigmas, i));
		spread_add(&sigma, &plan.sigma[i], &want, 1);
	}
	for (int i = 0; i < steps; i++) {
		const float want = json_number_value(json_array_get(json_object_get(values, "timesteps"), i));
		spread_add(&timestep, &plan.timestep[i], &want, 1);
	}
	judge(s->tally, KIND_LOSSES, &sigma, "%s %s sigmas", s->label, name);
	judge(s->tally, KIND_LOSSES, &timestep, "%s %s timesteps", s->label, name);
	sampler_plan_free(&plan);
}

static void check_schedules(struct subject *s)
{
	char *path = path_join(s->folder, "schedules.json");
	struct error e = { 0 };
	json_t *all = json_read(path, 1 << 22, &e), *values;
	const char *name;

	json_object_foreach(all, name, values)
		check_schedule(s, name, values);
	json_decref(all);
	free(path);
}

void check_flow(struct subject *s)
{
	struct flow x = { .s = s, .f = open_reference(s->folder, "noising.safetensors") };

	if (!x.f)
		return;
	x.sigma = need_floats(x.f, "sigma");
	x.latent = need_floats(x.f, "latent");
	x.noise = need_floats(x.f, "noise");
	x.normal = need_floats(x.f, "normal");
	x.n = need(x.f, "sigma")->shape[0];
	x.each = safetensor_elements(need(x.f, "latent")) / x.n;
	for (size_t i = 0; i < x.f->count; i++)
		check(&x, &x.f->tensor[i]);
	check_schedules(s);
	free(x.sigma);
	free(x.latent);
	free(x.noise);
	free(x.normal);
	close_reference(s, (struct safetensors *)x.f);
}
