/* Timesteps and sigmas of a run, one Euler step by hand, guidance. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <string.h>
#include "../../libcommon/sample/sampler.h"
#include <cmocka.h>     /* last: it takes the name fail */

static struct noise_schedule schedule(bool v)
{
	struct noise_schedule s;
	struct model_config m;

	model_config_sdxl(&m);
	m.schedule.v_prediction = v;
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
	struct noise_schedule s = schedule(false);
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
	struct noise_schedule s = schedule(false);
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

/* A network that knows the answer brings every start to it: x0 after the last step, whatever the steps in between. */
static void a_perfect_network_arrives(void **state)
{
	static const float answer[3] = { 0.5f, -1.25f, 2 };
	const float noise[3] = { 1, -0.5f, 0.25f };

	for (int v = 0; v < 2; v++) {
		struct noise_schedule s = schedule(v);
		struct sampler_plan p;
		float x[3], in[3], out[3];

		sampler_plan_init(&p, euler(), &s, 7, 1);
		for (int k = 0; k < 3; k++)
			x[k] = answer[k] + noise[k] * p.sigma[0];
		for (int i = 0; i < p.steps; i++) {
			float sigma = p.sigma[i], unit = sqrtf(sigma * sigma + 1);
			sampler_input(&p, i, in, x, 3);
			for (int k = 0; k < 3; k++) {
				float e = (x[k] - answer[k]) / sigma;
				assert_true(fabsf(in[k] - x[k] / unit) <= 1e-6f * fabsf(in[k]));
				/* v = sqrt(abar) noise - sqrt(1 - abar) x0, with sqrt(abar) = 1 / sqrt(sigma^2 + 1) */
				out[k] = v ? (e - sigma * answer[k]) / unit : e;
			}
			sampler_step(&p, i, x, out, NULL, 3);
		}
		/* sums of seven steps of size up to 14 in float32: 14 * 7 * 2^-24 = 6e-6 */
		for (int k = 0; k < 3; k++)
			assert_true(fabsf(x[k] - answer[k]) < 2e-5f);
		sampler_plan_free(&p);
		noise_schedule_free(&s);
	}
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
	assert_null(sampler_find("nonesuch", &e));
	assert_int_equal(e.code, EXIT_USAGE);
	assert_non_null(strstr(e.text, "nonesuch"));
	assert_non_null(strstr(e.text, "euler"));
	assert_null(sampler_find("", &e));
	assert_null(sampler_find("k_", &e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timesteps_and_sigmas), cmocka_unit_test(the_most_steps_stay_inside_the_table),
		cmocka_unit_test(a_perfect_network_arrives), cmocka_unit_test(guidance), cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
