/* Weights by timestep against PyTorch's; draws that depend on seed, step and item alone. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/io/safetensors.h"
#include "../../libcommon/train/objective.h"
#include <cmocka.h>     /* last: it takes the name fail */

#define GOLDEN "tests/golden/tiny-a"

enum { SAMPLES = 8, EACH = 4 * 6 * 8 };

struct golden { struct safetensors *f; struct noise_schedule eps, v; float *timestep; };

static int open_golden(void **state)
{
	struct golden *g = xcalloc(1, sizeof(*g));
	struct model_config m;
	struct error e;

	assert_int_equal(model_config_read(GOLDEN "/model", &m, &e), 0);
	m.schedule.prediction = PREDICTION_EPSILON;
	noise_schedule_init(&g->eps, &m.schedule);
	m.schedule.prediction = PREDICTION_V;
	noise_schedule_init(&g->v, &m.schedule);
	g->f = safetensors_open(GOLDEN "/losses.safetensors", &e);
	assert_non_null(g->f);
	g->timestep = safetensors_floats(g->f, "timestep", SAMPLES, &e);
	assert_non_null(g->timestep);
	*state = g;
	return 0;
}

static int close_golden(void **state)
{
	struct golden *g = *state;

	noise_schedule_free(&g->eps);
	noise_schedule_free(&g->v);
	safetensors_close(g->f);
	free(g->timestep);
	free(g);
	return 0;
}

/* PyTorch computes these in float32 from a float32 table: a few roundings of 2^-24, 1e-6 leaves room for ten. */
static void assert_close(const struct golden *g, const char *name, const float *ours, size_t n)
{
	struct error e;
	float *theirs = safetensors_floats(g->f, name, n, &e);

	assert_non_null(theirs);
	for (size_t i = 0; i < n; i++)
		if (!(fabsf(ours[i] - theirs[i]) <= 1e-6f * (1 + fabsf(theirs[i]))))
			fail_msg("%s[%zu]: %.9g, not %.9g", name, i, (double)ours[i], (double)theirs[i]);
	free(theirs);
}

static void weights_are_pytorchs(void **state)
{
	const struct golden *g = *state;
	float w[SAMPLES];
	int i;

	for (i = 0; i < SAMPLES; i++)
		w[i] = weight_debiased(&g->eps, g->timestep[i]);
	assert_close(g, "debiased.eps", w, SAMPLES);
	for (i = 0; i < SAMPLES; i++)
		w[i] = weight_debiased(&g->v, g->timestep[i]);
	assert_close(g, "debiased.v", w, SAMPLES);
	for (i = 0; i < SAMPLES; i++)
		w[i] = weight_min_snr(&g->eps, g->timestep[i], 5);
	assert_close(g, "min_snr.eps.gamma5", w, SAMPLES);
	for (i = 0; i < SAMPLES; i++)
		w[i] = weight_min_snr(&g->eps, g->timestep[i], 1);
	assert_close(g, "min_snr.eps.gamma1", w, SAMPLES);
	for (i = 0; i < SAMPLES; i++)
		w[i] = weight_min_snr(&g->v, g->timestep[i], 5);
	assert_close(g, "min_snr.v.gamma5", w, SAMPLES);
}

static void every_timestep_has_a_finite_weight(void **state)
{
	const struct golden *g = *state;

	for (int t = 0; t < g->eps.steps; t++) {
		assert_true(isfinite(weight_debiased(&g->eps, t)) && weight_debiased(&g->eps, t) > 0);
		assert_true(weight_debiased(&g->v, t) > 0 && weight_debiased(&g->v, t) < 1);
		assert_true(weight_min_snr(&g->eps, t, 5) > 0 && weight_min_snr(&g->eps, t, 5) <= 1);
	}
}

struct draw { float noisy[EACH], target[EACH], timestep, weight; };

static struct draw drawn(const struct objective *o, uint32_t step, uint32_t item, const float *mean, const float *std)
{
	struct draw d;
	struct objective_sample sample = { mean, std, 6, 8, EACH / 48, .noisy = d.noisy, .target = d.target };

	objective_sample(o, step, item, &sample);
	d.timestep = sample.timestep;
	d.weight = sample.weight;
	return d;
}

static void draws_depend_on_seed_step_and_item(void **state)
{
	const struct golden *g = *state;
	struct objective o = { .schedule = g->eps, .plain = g->eps, .max_timestep = 1000, .scaling_factor = 0.13f,
			       .seed = 42 };
	struct objective other = o;
	static const float mean[EACH], std[EACH];
	struct draw a = drawn(&o, 3, 1, mean, std), b = drawn(&o, 3, 1, mean, std);

	assert_memory_equal(&a, &b, sizeof(a));
	b = drawn(&o, 3, 2, mean, std);
	assert_memory_not_equal(a.target, b.target, sizeof(a.target));
	b = drawn(&o, 4, 1, mean, std);
	assert_memory_not_equal(a.target, b.target, sizeof(a.target));
	other.seed = 43;
	b = drawn(&other, 3, 1, mean, std);
	assert_memory_not_equal(a.target, b.target, sizeof(a.target));
}

/* With std 0 the latent is mean times the factor, and noisy and target are what the schedule makes of it. */
static void a_sample_is_what_the_schedule_says(void **state)
{
	const struct golden *g = *state;
	struct objective o = { .schedule = g->eps, .plain = g->eps, .max_timestep = 1000, .scaling_factor = 0.13f,
			       .seed = 42 };
	static const float std[EACH];
	float mean[EACH], noisy[EACH], latent[EACH];
	struct draw d;

	for (int i = 0; i < EACH; i++) {
		mean[i] = i / 7.0f - 5;
		latent[i] = mean[i] * o.scaling_factor;
	}
	d = drawn(&o, 0, 0, mean, std);
	assert_true(d.timestep >= 0 && d.timestep < 1000 && d.weight == 1);
	/* without v prediction the target is the noise */
	noise_add(&g->eps, d.timestep, noisy, latent, d.target, EACH);
	assert_memory_equal(d.noisy, noisy, sizeof(noisy));
	o.debiased = true;
	o.min_snr_gamma = 5;
	d = drawn(&o, 0, 0, mean, std);
	assert_true(d.weight == (float)((float)weight_debiased(&g->eps, d.timestep) *
					 weight_min_snr(&g->eps, d.timestep, 5)));
}

/* 4000 draws over 1000 timesteps: the mean within 4 standard errors (1000/sqrt(12*4000) = 4.6), both ends reached. */
static void timesteps_cover_the_schedule(void **state)
{
	const struct golden *g = *state;
	struct objective o = { .schedule = g->eps, .plain = g->eps, .max_timestep = 1000, .scaling_factor = 1,
			       .seed = 1 };
	static const float zero[EACH];
	double sum = 0;
	float low = 1000, high = 0;

	for (int i = 0; i < 4000; i++) {
		struct draw d = drawn(&o, i, 0, zero, zero);
		sum += d.timestep;
		low = d.timestep < low ? d.timestep : low;
		high = d.timestep > high ? d.timestep : high;
	}
	assert_true(fabs(sum / 4000 - 499.5) < 4 * 4.6);
	assert_true(low < 5 && high > 994);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(weights_are_pytorchs), cmocka_unit_test(every_timestep_has_a_finite_weight),
		cmocka_unit_test(draws_depend_on_seed_step_and_item),
		cmocka_unit_test(a_sample_is_what_the_schedule_says), cmocka_unit_test(timesteps_cover_the_schedule),
	};

	return cmocka_run_group_tests(tests, open_golden, close_golden);
}
