/* TIES and pruning against PEFT's own functions; DARE's draws. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/io/safetensors.h"
#include "../../libcommon/merge/methods.h"
#include <cmocka.h>     /* last: it takes the name fail */

enum { N = 12 * 20, MANY = 100000 };
static const double weight[] = { 1, 0.7, -0.4 };

static float *floats(const struct safetensors *s, const char *name)
{
	struct error e;
	float *x = safetensors_floats(s, name, N, &e);

	assert_non_null(x);
	return x;
}

/* the first `count` updates, added by a method, are the file's tensor */
static void check(const struct safetensors *s, const char *method, const char *tensor, double density, size_t count)
{
	const struct merge_method *m = merge_method(method);
	float *x[3], *want = floats(s, tensor), out[N];

	for (size_t i = 0; i < count; i++) {
		x[i] = floats(s, (const char *const[]){ "x0", "x1", "x2" }[i]);
		method_thin(m, x[i], N, density, NULL);
	}
	method_add(m, out, (const float *const *)x, weight, count, N);
	for (size_t i = 0; i < N; i++)
		if (fabsf(out[i] - want[i]) > 1e-6f * fabsf(want[i]))   /* sums in double, rounded once */
			fail_msg("%s: element %zu is %g, not %g", tensor, i, (double)out[i], (double)want[i]);
	for (size_t i = 0; i < count; i++)
		free(x[i]);
	free(want);
}

static void as_peft(void **state)
{
	struct error e;
	struct safetensors *s = safetensors_open("tests/golden/merge_methods.safetensors", &e);

	assert_non_null(s);
	check(s, "ties", "ties.0.3", 0.3, 3);
	check(s, "ties", "ties.0.55", 0.55, 3);
	check(s, "ties", "ties2.0.3", 0.3, 2);
	check(s, "ties", "ties2.0.55", 0.55, 2);
	check(s, "prune", "prune.0.3", 0.3, 3);
	check(s, "prune", "prune.0.55", 0.55, 3);
	safetensors_close(s);
}

/* Equal magnitudes stay from the front; a density of 0 leaves nothing. */
static void equal_ones(void **state)
{
	float x[] = { 1, -1, 1, 2, -1, 0 }, y[] = { 1, -1, 1 }, z[] = { 0, 3 };

	method_thin(merge_method("prune"), x, 6, 0.5, NULL);
	assert_true(x[0] == 1 && x[1] == -1 && x[2] == 0 && x[3] == 2 && x[4] == 0 && x[5] == 0);
	method_thin(merge_method("prune"), y, 3, 0, NULL);
	assert_true(!y[0] && !y[1] && !y[2]);
	method_thin(merge_method("ties"), z, 2, 0.5, NULL);
	assert_true(!z[0] && z[1] == 3);
}

/* One update at density 1 and weight 1 is itself, whatever the method. */
static void itself(void **state)
{
	static const char *const names[] = { "ties", "dare", "dare_ties", "prune" };
	const struct random draw = { 1, RANDOM_DARE, 0, 0 };

	for (size_t i = 0; i < 4; i++) {
		const struct merge_method *m = merge_method(names[i]);
		float x[] = { 1, -2, 0, 4e-30f }, out[4];
		const float *const all[] = { x };

		method_thin(m, x, 4, 1, &draw);
		method_add(m, out, all, weight, 1, 4);
		assert_memory_equal(x, out, sizeof(x));
	}
	assert_null(merge_method("linear"));
}

static size_t drawn(uint64_t seed, uint32_t update, float *x)
{
	const struct random draw = { seed, RANDOM_DARE, update, 7 };
	size_t kept = 0;

	for (size_t i = 0; i < MANY; i++)
		x[i] = 1;
	method_thin(merge_method("dare"), x, MANY, 0.3, &draw);
	for (size_t i = 0; i < MANY; i++) {
		assert_true(x[i] == 0 || x[i] == (float)(1 / 0.3));
		kept += x[i] != 0;
	}
	return kept;
}

static void draws(void **state)
{
	static float x[MANY], y[MANY];
	size_t both = 0;

	/* four standard deviations of a binomial: 580 of 30,000 */
	assert_true(fabs((double)drawn(1, 0, x) - 30000) < 580);
	drawn(1, 0, y);
	assert_memory_equal(x, y, sizeof(x));
	drawn(1, 1, y);
	for (size_t i = 0; i < MANY; i++)
		both += x[i] && y[i];
	assert_true(fabs((double)both - 9000) < 362);
	drawn(2, 0, y);
	assert_memory_not_equal(x, y, sizeof(x));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_peft), cmocka_unit_test(equal_ones), cmocka_unit_test(itself),
		cmocka_unit_test(draws),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
