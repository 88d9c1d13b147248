/* Philox4x32-10 against Random123's known answers; what is built on it against its definition and its moments. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>
#include "../../libcommon/base/philox.h"

static void known_answers(void **state)
{
	static const struct { uint64_t seed; uint32_t index, item, step, purpose, out[4]; } cases[] = {
		{ 0, 0, 0, 0, 0, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
		{ ~0ull, ~0u, ~0u, ~0u, ~0u, { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
		{ 0x299f31d0a4093822, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344,
		  { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct random r = { cases[i].seed, cases[i].purpose, cases[i].step, cases[i].item };
		uint32_t out[4];

		philox(&r, cases[i].index, out);
		assert_memory_equal(out, cases[i].out, sizeof(out));
	}
}

static void normal_is_box_muller(void **state)
{
	struct random r = { 42, RANDOM_TEST, 3, 5 };
	float x[8];

	random_normal(&r, x, 8);
	for (uint32_t block = 0; block < 2; block++) {
		uint32_t w[4];

		philox(&r, block, w);
		for (int pair = 0; pair < 2; pair++) {
			double radius = sqrt(-2 * log((w[2 * pair] + 0.5) / 4294967296.0));
			double angle = 2 * 3.14159265358979323846 * (w[2 * pair + 1] / 4294967296.0);

			/* The last bit of a double may differ between two ways to write it, a float's hardly ever. */
			assert_true(fabs(x[4 * block + 2 * pair] - radius * cos(angle)) < 1e-6);
			assert_true(fabs(x[4 * block + 2 * pair + 1] - radius * sin(angle)) < 1e-6);
		}
	}
}

/* These values are part of what a seed means: if one changes, old runs can no longer be repeated. */
static void fixed_values(void **state)
{
	static const uint32_t expected[4] = { 0x3eaa9492, 0x3f37550f, 0x3f447d6f, 0x3e7f21dc };
	struct random r = { 42, RANDOM_NOISE, 7, 1 };
	float x[4];

	random_normal(&r, x, 4);
	assert_memory_equal(x, expected, sizeof(x));
}

static void a_prefix_is_a_prefix(void **state)
{
	struct random r = { 1, RANDOM_TEST, 0, 0 };
	float all[9], part[9];

	random_normal(&r, all, 9);
	for (size_t n = 0; n <= 9; n++) {
		part[8] = -99;
		random_normal(&r, part, n);
		assert_memory_equal(all, part, n * sizeof(*all));
		assert_true(n == 9 || part[8] == -99);
	}
}

static void normal_moments(void **state)
{
	enum { N = 1 << 18 };
	struct random r = { 9, RANDOM_TEST, 0, 0 };
	float *x = malloc(N * sizeof(*x));
	double sum = 0, squares = 0, fourth = 0, neighbours = 0;

	random_normal(&r, x, N);
	for (int i = 0; i < N; i++) {
		sum += x[i];
		squares += x[i] * x[i];
		fourth += pow(x[i], 4);
		neighbours += i ? x[i] * x[i - 1] : 0;
	}
	/* Five standard deviations of each statistic at this N: 5/512 times 1, sqrt 2, sqrt 96, 1. */
	assert_true(fabs(sum / N) < 0.0098);
	assert_true(fabs(squares / N - 1) < 0.0138);
	assert_true(fabs(fourth / N - 3) < 0.096);
	assert_true(fabs(neighbours / N) < 0.0098);
	free(x);
}

static void below(void **state)
{
	struct random r = { 5, RANDOM_TEST, 0, 0 };
	int seen[10] = { 0 };

	for (uint32_t i = 0; i < 10000; i++) {
		uint32_t v = random_below(&r, i, 10);

		assert_in_range(v, 0, 9);
		seen[v]++;
	}
	for (int i = 0; i < 10; i++)
		assert_in_range(seen[i], 850, 1150);    /* 1000 with 5 standard deviations of 30 */
	for (uint32_t i = 0; i < 100; i++) {
		assert_int_equal(random_below(&r, i, 1), 0);
		assert_true(random_below(&r, i, ~0u) < ~0u);
	}
}

static void below_is_the_wide_product(void **state)
{
	struct random r = { 5, RANDOM_TEST, 1, 0 };

	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t w[4], n = 1 + i * 4294967u;
		unsigned __int128 wide;

		philox(&r, i, w);
		wide = (unsigned __int128)((uint64_t)w[0] << 32 | w[1]) * n;
		assert_int_equal(random_below(&r, i, n), (uint32_t)(wide >> 64));
	}
}

static void uniforms(void **state)
{
	struct random r = { 6, RANDOM_TEST, 0, 0 };
	float x[1001];
	double sum = 0;

	random_uniforms(&r, x, 1001, -2, 3);
	for (int i = 0; i < 1001; i++) {
		assert_true(x[i] >= -2 && x[i] < 3);
		sum += x[i];
	}
	assert_true(fabs(sum / 1001 - 0.5) < 0.23);     /* 5 standard deviations: 5 * 5 / sqrt(12 * 1001) */
	for (uint32_t i = 0; i < 1000; i++)
		assert_true(random_uniform(&r, i) >= 0 && random_uniform(&r, i) < 1);
}

static void permutation(void **state)
{
	struct random r = { 7, RANDOM_ORDER, 0, 0 }, other = { 7, RANDOM_ORDER, 1, 0 };
	uint32_t a[1000], b[1000];
	char seen[1000] = { 0 };
	int fixed = 0, same = 0;

	random_permutation(&r, a, 1000);
	random_permutation(&other, b, 1000);
	for (uint32_t i = 0; i < 1000; i++) {
		assert_true(a[i] < 1000 && !seen[a[i]]);
		seen[a[i]] = 1;
		fixed += a[i] == i;
		same += a[i] == b[i];
	}
	/* Poisson with mean 1: ten or more has a chance of 1e-7. */
	assert_true(fixed < 10 && same < 10);
	random_permutation(&r, a, 1);
	assert_int_equal(a[0], 0);
	random_permutation(&r, a, 0);
}

/* Every one of the six orders of three about equally often. */
static void permutation_is_fair(void **state)
{
	int seen[27] = { 0 }, kinds = 0;

	for (uint32_t step = 0; step < 6000; step++) {
		struct random r = { 8, RANDOM_ORDER, step, 0 };
		uint32_t p[3];

		random_permutation(&r, p, 3);
		seen[p[0] * 9 + p[1] * 3 + p[2]]++;
	}
	for (int i = 0; i < 27; i++) {
		if (!seen[i])
			continue;
		kinds++;
		assert_in_range(seen[i], 855, 1145);    /* 1000 with 5 standard deviations of 29 */
	}
	assert_int_equal(kinds, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers),
		cmocka_unit_test(normal_is_box_muller),
		cmocka_unit_test(fixed_values),
		cmocka_unit_test(a_prefix_is_a_prefix),
		cmocka_unit_test(normal_moments),
		cmocka_unit_test(below),
		cmocka_unit_test(below_is_the_wide_product),
		cmocka_unit_test(uniforms),
		cmocka_unit_test(permutation),
		cmocka_unit_test(permutation_is_fair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
