/* What a step trains on: draws within their bounds, noise as it was asked for, weights from the right schedule. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/model/config.h"
#include "../../libcommon/train/objective_settings.h"
#include <cmocka.h>     /* after error.h: its fail() is a macro */

enum { H = 24, W = 16, C = 4, N = H * W * C };

static const struct train_settings defaults = { .loss_type = "l2", .huber_schedule = "snr", .huber_c = 0.1,
						.huber_scale = 1, .max_timestep = 1000, .multires_discount = 0.3 };

static struct objective make(const struct train_settings *s)
{
	struct model_config c;
	struct objective o;
	struct error e = { 0 };

	model_config_sdxl(&c);
	if (objective_init(&o, s, &c, 7, &e))
		fail_msg("%s", e.text);
	return o;
}

static void drop(struct objective *o)
{
	noise_schedule_free(&o->schedule);
	noise_schedule_free(&o->plain);
}

struct drawn { float noisy[N], target[N]; struct objective_sample s; };

/* mean 0.5 in channel 0 and 0 elsewhere, no deviation */
static void take(const struct train_settings *s, uint32_t step, struct drawn *d)
{
	static float mean[N], std[N];
	struct objective o = make(s);

	for (int i = 0; i < N; i += C)
		mean[i] = 0.5f;
	d->s = (struct objective_sample){ mean, std, H, W, C, d->noisy, d->target };
	objective_sample(&o, step, 3, &d->s);
	drop(&o);
}

static double channel_mean(const float *x, int c)
{
	double sum = 0;

	for (int i = c; i < N; i += C)
		sum += x[i];
	return sum / (N / C);
}

static double deviation(const float *x)
{
	double sum = 0, squares = 0;

	for (int i = 0; i < N; i++) {
		sum += x[i];
		squares += (double)x[i] * x[i];
	}
	return sqrt((squares - sum * sum / N) / (N - 1));
}

static void timesteps_keep_their_range(void **state)
{
	struct train_settings s = defaults;
	float low = 1000, high = 0;

	s.min_timestep = 100;
	s.max_timestep = 104;
	for (uint32_t step = 0; step < 64; step++) {
		struct drawn d;
		take(&s, step, &d);
		low = fminf(low, d.s.timestep);
		high = fmaxf(high, d.s.timestep);
	}
	assert_true(low == 100 && high == 103);
}

static void an_option_that_is_off_changes_nothing(void **state)
{
	struct train_settings s = defaults;
	struct drawn a, b;

	take(&s, 5, &a);
	s.noise_offset_random = s.ip_noise_random = true;
	s.huber_c = 0.7;
	take(&s, 5, &b);
	assert_memory_equal(a.noisy, b.noisy, sizeof(a.noisy));
	assert_memory_equal(a.target, b.target, sizeof(a.target));
	assert_true(a.s.weight == 1 && a.s.timestep == b.s.timestep);
}

/* The target is the noise, so the difference to the plain run's is the offset alone: one value a channel. */
static void the_offset_is_one_value_a_channel(void **state)
{
	struct train_settings s = defaults;
	struct drawn plain, moved, random, adaptive;

	take(&s, 2, &plain);
	s.noise_offset = 0.5;
	take(&s, 2, &moved);
	s.noise_offset_random = true;
	take(&s, 2, &random);
	s.noise_offset_random = false;
	/* 0.5 - 100 * 0.5 * scaling factor is below 0: nothing in channel 0, all elsewhere */
	s.adaptive_noise_scale = -100;
	take(&s, 2, &adaptive);
	for (int c = 0; c < C; c++) {
		const double by = moved.target[c] - plain.target[c], less = random.target[c] - plain.target[c];
		assert_true(fabs(by) > 1e-4 && fabs(less) < fabs(by) && less * by > 0);
		for (int i = c; i < N; i += C) {
			assert_true(fabs(moved.target[i] - plain.target[i] - by) < 1e-6);
			assert_true(fabs(adaptive.target[i] - plain.target[i] - (c ? by : 0)) < 1e-6);
		}
	}
}

static void coarser_noises_keep_the_deviation(void **state)
{
	struct train_settings s = defaults;
	struct drawn d;
	double spread = 0;

	s.multires_iterations = 6;
	s.multires_discount = 0.9;
	take(&s, 4, &d);
	assert_true(fabs(deviation(d.target) - 1) < 1e-4);
	for (int c = 0; c < C; c++)
		spread += fabs(channel_mean(d.target, c));
	/* the mean of 384 plain values is within 0.2 of 0 but for one case in 10^4; the coarsest level moves it more */
	assert_true(spread / C > 0.1);
}

static void input_noise_leaves_the_target_alone(void **state)
{
	struct train_settings s = defaults;
	struct drawn plain, disturbed;

	take(&s, 6, &plain);
	s.ip_noise_gamma = 0.1;
	take(&s, 6, &disturbed);
	assert_memory_equal(plain.target, disturbed.target, sizeof(plain.target));
	assert_memory_not_equal(plain.noisy, disturbed.noisy, sizeof(plain.noisy));
}

/* With the last timestep's SNR 0, weights of noise prediction would be infinite. */
static void weights_come_from_the_schedule_before_the_fix(void **state)
{
	struct train_settings s = defaults;
	struct drawn d;
	struct objective o;

	s.min_timestep = 999;
	s.zero_terminal_snr = true;
	s.v_prediction = true;
	s.debiased = true;
	o = make(&s);
	assert_true(noise_schedule_snr(&o.schedule, 999) == 0);
	assert_true(noise_schedule_snr(&o.plain, 999) > 0);
	take(&s, 0, &d);
	assert_true(d.s.weight == (float)(1 / (noise_schedule_snr(&o.plain, 999) + 1)));
	s.loss_type = "huber";
	take(&s, 0, &d);
	assert_true(d.s.loss_c == (float)s.huber_c);    /* sigma is infinite there */
	drop(&o);
}

static void contradictions_are_refused(void **state)
{
	static const struct train_settings wrong[] = {
		{ .adaptive_noise_scale = 0.1, .max_timestep = 1000 },
		{ .scale_v_like_noise = true, .max_timestep = 1000 },
		{ .v_like = 1, .v_prediction = true, .max_timestep = 1000 },
		{ .min_timestep = 500, .max_timestep = 500 },
	};
	struct model_config c;

	model_config_sdxl(&c);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct objective o;
		struct error e = { 0 };

		assert_int_equal(objective_init(&o, &wrong[i], &c, 7, &e), -1);
		assert_int_equal(e.code, EXIT_USAGE);
	}
}

/* Bounds are those of the model, whatever it has; 1000 is what everybody's files say. */
static void timesteps_are_the_models(void **state)
{
	static const struct { int steps; long min, max; int from, to; } cases[] = {     /* to 0: refused */
		{ 1000, 0, 1000, 0, 1000 }, { 1000, 999, 1000, 999, 1000 }, { 1000, 0, 1001, 0, 0 },
		{ 500, 0, 1000, 0, 500 }, { 500, 499, 1000, 499, 500 }, { 500, 500, 1000, 0, 0 },
		{ 500, 600, 1000, 0, 0 }, { 500, 0, 501, 0, 0 }, { 500, 100, 400, 100, 400 },
		{ 2000, 0, 2000, 0, 2000 }, { 2000, 1500, 1900, 1500, 1900 }, { 2000, 0, 1000, 0, 1000 },
		{ 2000, 1500, 1000, 0, 0 }, { 1, 0, 1000, 0, 1 },
	};
	struct model_config c;

	model_config_sdxl(&c);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct train_settings s = defaults;
		struct objective o;
		struct error e = { 0 };

		s.min_timestep = cases[i].min;
		s.max_timestep = cases[i].max;
		c.schedule.train_steps = cases[i].steps;
		if (objective_init(&o, &s, &c, 7, &e) < 0) {
			if (cases[i].to || e.code != EXIT_USAGE)
				fail_msg("case %zu: %s", i, e.text);
			continue;
		}
		assert_int_equal(o.min_timestep, cases[i].from);
		assert_int_equal(o.max_timestep, cases[i].to);
		drop(&o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timesteps_keep_their_range), cmocka_unit_test(an_option_that_is_off_changes_nothing),
		cmocka_unit_test(the_offset_is_one_value_a_channel),
		cmocka_unit_test(coarser_noises_keep_the_deviation),
		cmocka_unit_test(input_noise_leaves_the_target_alone),
		cmocka_unit_test(weights_come_from_the_schedule_before_the_fix),
		cmocka_unit_test(contradictions_are_refused), cmocka_unit_test(timesteps_are_the_models),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
