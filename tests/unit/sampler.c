/* Timesteps and sigmas of a run, every sampler with a network that knows the answer, guidance, names. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <string.h>
#include "../../libcommon/sample/sampler.h"
#include <cmocka.h>     /* last: it takes the name fail */

static struct noise_schedule schedule(bool v, bool zero)
{
	struct noise_schedule s;
	struct model_config m;

	model_config_sdxl(&m);
	m.schedule.prediction = v ? PREDICTION_V : PREDICTION_EPSILON;
	m.schedule.zero_terminal_snr = zero;
	noise_schedule_init(&s, &m.schedule);
	return s;
}

static const struct sampler *euler(void)
{
	struct error e;

	return sampler_find("euler", &e);
}

/* diffusers' "leading" spacing with offset 1 for SDXL; a sigma is float32: 2^-24 of itself */
static void timesteps_and_sigmas(void **state)
{
	struct noise_schedule s = schedule(false, false);
	struct sampler_plan p;

	sampler_plan_init(&p, euler(), &s, 4, 1);
	assert_true(p.timestep[0] == 751 && p.timestep[1] == 501 && p.timestep[2] == 251 && p.timestep[3] == 1);
	assert_true(p.sigma[4] == 0);
	for (int i = 0; i < 4; i++) {
		double abar = s.abar[(int)p.timestep[i]];
		assert_true(fabs(p.sigma[i] - sqrt((1 - abar) / abar)) <= 1e-6 * p.sigma[i]);
		assert_true(p.sigma[i] > p.sigma[i + 1]);
	}
	assert_true(fabs(p.init_sigma - sqrt(p.sigma[0] * p.sigma[0] + 1)) < 1e-6 * p.init_sigma);
	sampler_plan_free(&p);
	sampler_plan_init(&p, euler(), &s, 30, 1);
	assert_true(p.timestep[0] == 29 * 33 + 1 && p.timestep[29] == 1);
	sampler_plan_free(&p);
	noise_schedule_free(&s);
}

/* As many steps as the schedule has: the offset points past its end, where the last value stands in. */
static void the_most_steps_stay_inside_the_table(void **state)
{
	struct noise_schedule s = schedule(false, false);
	struct sampler_plan p;

	sampler_plan_init(&p, euler(), &s, 1000, 1);
	assert_true(p.sigma[0] == (float)sqrt((1 - s.abar[999]) / s.abar[999]));
	for (int i = 0; i < 1000; i++)
		assert_true(isfinite(p.sigma[i]) && p.sigma[i] >= p.sigma[i + 1]);
	sampler_plan_free(&p);
	sampler_plan_init(&p, euler(), &s, 1, 1);
	assert_true(p.timestep[0] == 1 && p.sigma[1] == 0);
	sampler_plan_free(&p);
	noise_schedule_free(&s);
}

static const char *const all[] = { "euler", "euler_a", "ddim", "dpm++2m", "heun", "lms", "pndm" };
enum { SAMPLERS = sizeof(all) / sizeof(*all) };

/* What a network that knows the answer says of x in evaluation i: the noise in it, or v. */
static float perfect(const struct sampler_plan *p, int i, bool exploding, float x, float answer)
{
	double abar = p->abar[i], a = sqrt(abar), b = sqrt(1 - abar), scaled = exploding ? x * a : x,
		e = (scaled - a * answer) / b;

	return p->prediction == PREDICTION_V ? a * e - b * answer : e;
}

/* Every sampler is brought to the answer by it: the answer after the last step, whatever the steps in between.  The
 * first step from pure noise of zero terminal SNR too (500 steps reach timestep 999). */
static void arrive(const char *name, bool v, bool zero, int steps)
{
	static const float answer[3] = { 0.5f, -1.25f, 2 }, noise[3] = { 1, -0.5f, 0.25f };
	struct noise_schedule s = schedule(v, zero);
	struct sampler_plan p;
	struct error e;
	float x[3], in[3], out[3];

	sampler_plan_init(&p, sampler_find(name, &e), &s, steps, 1);
	bool exploding = p.init_sigma > 1;
	for (int k = 0; k < 3; k++)
		x[k] = noise[k] * p.init_sigma;
	for (int i = 0; i < p.evaluations; i++) {
		sampler_input(&p, i, in, x, 3);
		for (int k = 0; k < 3; k++)
			out[k] = perfect(&p, i, exploding, x[k], answer[k]);
		assert_true(isfinite(in[0]));
		sampler_step(&p, i, x, out, sampler_wants_noise(&p) ? noise : NULL, 3);
	}
	/* DDIM and PNDM end at timestep 0, where a part of the noise that was there at the start remains.  float32
	 * steps from a start of up to 4096 with zero terminal SNR (last bit 2^-12). */
	double end = p.abar[p.evaluations], start = p.abar[0];
	float within = zero ? 2e-3f : 1e-4f;
	for (int k = 0; k < 3; k++) {
		double left = exploding ? 0 : sqrt(1 - end) * (noise[k] - sqrt(start) * answer[k]) / sqrt(1 - start);
		double want = sqrt(end) * answer[k] + left;
		if (!(fabs(x[k] - want) < within))
			fail_msg("%s, v %d, zero %d, %d steps: %g for %g", name, v, zero, steps, x[k], want);
	}
	sampler_plan_free(&p);
	noise_schedule_free(&s);
}

static void a_perfect_network_arrives(void **state)
{
	static const int steps[] = { 1, 2, 3, 7 };

	for (int k = 0; k < SAMPLERS; k++) {
		for (int i = 0; i < 4; i++) {
			arrive(all[k], false, false, steps[i]);
			/* extrapolates v, which is no straight line even so; many steps are near enough */
			if (strcmp(all[k], "pndm"))
				arrive(all[k], true, false, steps[i]);
		}
		arrive(all[k], true, true, 500);
		arrive(all[k], false, false, 1000);
	}
}

/* Zero terminal SNR with predicted noise is a contradiction that a config can hold: nothing becomes infinite all the
 * same. */
static void no_signal_is_survived(void **state)
{
	for (int k = 0; k < SAMPLERS; k++) {
		struct noise_schedule s = schedule(false, true);
		struct sampler_plan p;
		struct error e;
		float x = 1;

		sampler_plan_init(&p, sampler_find(all[k], &e), &s, 500, 1);
		for (int i = 0; i < p.evaluations; i++) {
			float in, out, noise = 0.5f;
			sampler_input(&p, i, &in, &x, 1);
			out = in * 0.9f;
			sampler_step(&p, i, &x, &out, &noise, 1);
		}
		assert_true(isfinite(x));
		sampler_plan_free(&p);
		noise_schedule_free(&s);
	}
}

static void evaluations(void **state)
{
	struct noise_schedule s = schedule(false, false);
	struct sampler_plan p;
	struct error e;

	sampler_plan_init(&p, sampler_find("heun", &e), &s, 3, 1);
	assert_int_equal(p.evaluations, 5);
	assert_true(p.timestep[0] == 667 && p.timestep[1] == 334 && p.timestep[2] == 334 && p.timestep[3] == 1 &&
		    p.timestep[4] == 1);
	sampler_plan_free(&p);
	sampler_plan_init(&p, sampler_find("pndm", &e), &s, 3, 1);
	assert_int_equal(p.evaluations, 4);
	assert_true(p.timestep[0] == 667 && p.timestep[1] == 334 && p.timestep[2] == 334 && p.timestep[3] == 1);
	sampler_plan_free(&p);
	sampler_plan_init(&p, sampler_find("dpm++2m", &e), &s, 3, 1);
	assert_true(p.timestep[0] == 751 && p.timestep[1] == 501 && p.timestep[2] == 251 && p.init_sigma == 1);
	sampler_plan_free(&p);
	assert_int_equal(sampler_evaluations(sampler_find("heun", &e), 30), 59);
	assert_int_equal(sampler_evaluations(sampler_find("pndm", &e), 1), 1);
	assert_int_equal(sampler_steps_check(&s, 1000, &e), 0);
	assert_int_equal(sampler_steps_check(&s, 1001, &e), -1);
	assert_int_equal(e.code, EXIT_USAGE);
	noise_schedule_free(&s);
}

static void guidance(void **state)
{
	const float negative[2] = { 1, -2 }, positive[2] = { 2, 2 };
	float out[2], in_place[2] = { 2, 2 };

	guide(out, negative, positive, 7.5f, 2);
	assert_true(out[0] == 8.5f && out[1] == 28);
	guide(out, negative, positive, 0, 2);
	assert_memory_equal(out, negative, sizeof(out));
	guide(in_place, negative, in_place, 7.5f, 2);   /* painting writes over the positive half */
	assert_true(in_place[0] == 8.5f && in_place[1] == 28);
}

static void names(void **state)
{
	struct error e = { 0 };

	assert_non_null(euler());
	assert_ptr_equal(sampler_find("k_euler", &e), euler());
	assert_string_equal(sampler_label(euler()), "Euler");
	for (int k = 0; k < SAMPLERS; k++)
		assert_non_null(sampler_find(all[k], &e));
	assert_string_equal(sampler_label(sampler_find("k_euler_a", &e)), "Euler a");
	assert_ptr_equal(sampler_find("dpmsolver++", &e), sampler_find("dpm++2m", &e));
	assert_string_equal(sampler_label(sampler_find("dpmsolver++", &e)), "DPM++ 2M");
	assert_null(sampler_find("eulre", &e));
	assert_non_null(strstr(e.text, "did you mean 'euler'?"));
	assert_null(sampler_find("dpmsolver", &e));     /* sd-scripts' other solver: not taken for this one */
	assert_null(sampler_find("nonesuch", &e));
	assert_int_equal(e.code, EXIT_USAGE);
	assert_non_null(strstr(e.text, "nonesuch"));
	for (int k = 0; k < SAMPLERS; k++)
		assert_non_null(strstr(e.text, all[k]));
	assert_null(sampler_find("", &e));
	assert_null(sampler_find("k_", &e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timesteps_and_sigmas), cmocka_unit_test(the_most_steps_stay_inside_the_table),
		cmocka_unit_test(a_perfect_network_arrives), cmocka_unit_test(no_signal_is_survived),
		cmocka_unit_test(evaluations), cmocka_unit_test(guidance), cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
