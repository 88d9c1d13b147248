/* Sums rounded once: against every value of the narrow types, at, above and below each middle. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/cpu.h"
#include "../../libcommon/io/nearest_loops.h"
#include <cmocka.h>

static const struct nearest_loops *loops[2] = { &nearest_portable };

static const enum dtype types[] = { DTYPE_F16, DTYPE_BF16, DTYPE_F8_E4M3, DTYPE_F8_E5M2 };

static float value(enum dtype type, uint16_t bits)
{
	float x;

	assert_int_equal(to_float(&x, &bits, type, 1), 0);
	return x;
}

/* exact, as 0 + exact */
static uint16_t rounded(const struct nearest_loops *l, enum dtype type, double exact)
{
	struct nearest_sums sums = { 0 };
	uint16_t zero = 0, out = 0;

	nearest_add_by(l, &out, &zero, type, &exact, 1, &sums);
	return out;
}

/* Two values that are neighbours: their middle goes to the even one, and what is one bit of a double beside it to the
 * nearer. */
static void check_neighbours(const struct nearest_loops *l, enum dtype type, uint16_t bits)
{
	const uint16_t sign = type == DTYPE_F16 || type == DTYPE_BF16 ? 0x8000 : 0x80;
	const double low = value(type, bits), high = value(type, bits + 1), middle = low / 2 + high / 2;

	for (int minus = 0; minus < 2; minus++) {
		const double by = minus ? -1 : 1;
		const uint16_t add = minus ? sign : 0;

		assert_int_equal(rounded(l, type, by * low), low == 0 ? 0 : bits + add);
		assert_int_equal(rounded(l, type, by * middle), bits + (bits & 1) + add);
		assert_int_equal(rounded(l, type, by * nextafter(middle, 0)), bits + add);
		assert_int_equal(rounded(l, type, by * nextafter(middle, INFINITY)), bits + 1 + add);
		assert_int_equal(rounded(l, type, by * nextafter(high, 0)), bits + 1 + add);
	}
}

static void every_middle(void **state)
{
	for (int l = 0; l < 2 && loops[l]; l++)
		for (size_t t = 0; t < sizeof(types) / sizeof(*types); t++)
			for (uint16_t bits = 0; isfinite(value(types[t], bits + 1)); bits++)
				check_neighbours(loops[l], types[t], bits);
}

/* In floats the sum itself is rounded once. */
static void floats(void **state)
{
	static const double tries[] = { 1 + 0x1p-24, 1 + 0x1p-24 + 0x1p-52, 1e-45, 0x1p-150, 3e38, 1e39, -1e-50 };

	for (int l = 0; l < 2 && loops[l]; l++)
		for (size_t i = 0; i < sizeof(tries) / sizeof(*tries); i++) {
			const float zero = 0, want = (float)tries[i];
			struct nearest_sums sums = { 0 };
			float out;

			nearest_add_by(loops[l], &out, &zero, DTYPE_F32, &tries[i], 1, &sums);
			assert_true(out == want);
			assert_int_equal(sums.broken, isinf(want));
		}
}

enum { N = 1000 };

static void fill(enum dtype type, unsigned char *in, double *add)
{
	float x[N];

	for (int i = 0; i < N; i++) {
		x[i] = (float)((i * 7919 % 2003) / 1000. - 1);
		add[i] = ((i * 104729 % 3001) / 1500. - 1) / 64;
	}
	assert_int_equal(from_float(in, type, x, N), 0);
}

/* What is said of the sums is what they are, the same from each loop. */
static void sums_are_those_of_the_elements(void **state)
{
	for (size_t t = 0; t < sizeof(types) / sizeof(*types); t++) {
		unsigned char in[2 * N], out[2][2 * N];
		struct nearest_sums sums[2] = { { 0 } };
		float before[N], after[N];
		double add[N], update = 0, error = 0;

		fill(types[t], in, add);
		for (int l = 0; l < 2 && loops[l]; l++)
			nearest_add_by(loops[l], out[l], in, types[t], add, N, &sums[l]);
		to_float(before, in, types[t], N);
		to_float(after, out[0], types[t], N);
		for (int i = 0; i < N; i++) {
			const double off = after[i] - (before[i] + add[i]);

			update += add[i] * add[i];
			error += off * off;
		}
		assert_true(fabs(sums[0].update - update) <= 1e-13 * update);
		assert_true(fabs(sums[0].error - error) <= 1e-13 * error);
		assert_false(sums[0].unsound || sums[0].broken);
		if (!loops[1])
			continue;
		assert_memory_equal(out[0], out[1], N * dtype_size(types[t]));
		assert_memory_equal(&sums[0], &sums[1], offsetof(struct nearest_sums, unsound));
	}
}

static void tells_what_is_no_number(void **state)
{
	for (int l = 0; l < 2 && loops[l]; l++)
		for (int place = 0; place < 7; place++) {
			float in[7] = { 0 }, out[7];
			double add[7] = { 0 };
			struct nearest_sums unsound = { 0 }, broken = { 0 };

			in[place] = place % 2 ? NAN : -INFINITY;
			nearest_add_by(loops[l], out, in, DTYPE_F32, add, 7, &unsound);
			assert_true(unsound.unsound);
			in[place] = 0;
			add[place] = place % 2 ? NAN : 1e300;
			nearest_add_by(loops[l], out, in, DTYPE_F32, add, 7, &broken);
			assert_true(!broken.unsound && broken.broken);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_middle),
		cmocka_unit_test(floats),
		cmocka_unit_test(sums_are_those_of_the_elements),
		cmocka_unit_test(tells_what_is_no_number),
	};

#ifdef __x86_64__
	if (cpu_has_avx2())
		loops[1] = &nearest_avx2;
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
