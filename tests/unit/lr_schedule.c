/* Every schedule against PyTorch's multipliers (tests/golden/schedules.json; doubles, 1e-9 as its README allows). */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include "../../libcommon/io/json.h"
#include "../../libcommon/optimize/lr_schedule.h"
#include "../../libcommon/train/settings/settings.h"
#include <cmocka.h>

static double number(const json_t *o, const char *key, double otherwise)
{
	const json_t *v = json_object_get(o, key);

	return json_is_number(v) ? json_number_value(v) : otherwise;
}

static void equals_pytorch(void **state)
{
	struct error e;
	json_t *all = json_read("tests/golden/schedules.json", 1 << 20, &e), *one;
	size_t i, k, curves = 0;

	assert_non_null(all);
	json_array_foreach(all, i, one) {
		const json_t *wanted = json_object_get(one, "multipliers");
		struct lr_schedule s = {
			.name = json_string_value(json_object_get(one, "lr_scheduler")),
			.warmup = number(one, "warmup_steps", 0), .total = number(one, "total_steps", 0),
			.cycles = number(one, "lr_scheduler_num_cycles", 1),
			.power = number(one, "lr_scheduler_power", 1),
			.end = 1e-7 / number(one, "learning_rate", 1),
			.min_ratio = number(one, "lr_scheduler_min_lr_ratio", 0),
			.decay = number(one, "lr_decay_steps", 0), .timescale = number(one, "lr_scheduler_timescale",
				0),
		};
		assert_true(lr_schedule_known(s.name));
		for (k = 0; k < json_array_size(wanted); k++) {
			double want = json_number_value(json_array_get(wanted, k)), got = lr_multiplier(&s, k);
			if (!(fabs(want - got) <= 1e-9))
				fail_msg("%s, update %zu: %.17g, not %.17g", s.name, k, got, want);
		}
		curves++;
	}
	assert_true(curves >= 30);
	json_decref(all);
}

static void warmup_forms(void **state)
{
	static const struct { const char *text; long total, steps; } good[] = {
		{ "0", 100, 0 }, { "20", 100, 20 }, { "0.1", 1000, 100 }, { "0.15", 50, 7 }, { "10%", 200, 20 },
		{ NULL, 10, 0 } };
	static const char *const bad[] = { "x", "-1", "200", "10%%", "nan" };
	struct error e;
	size_t i;
	long steps;

	for (i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(train_schedule_steps("lr_warmup_steps", good[i].text, good[i].total, &steps, &e), 0);
		assert_int_equal(steps, good[i].steps);
	}
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(train_schedule_steps("lr_warmup_steps", bad[i], 100, &steps, &e), -1);
		assert_int_equal(e.code, EXIT_USAGE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(equals_pytorch), cmocka_unit_test(warmup_forms) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
