/* The Mersenne twister against its authors' numbers, PyTorch's normal numbers against PyTorch's. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <string.h>
#include "../../libcommon/sample/torch_noise.h"
#include <cmocka.h>     /* last: it takes the name fail */

/* Seed 5489 is the reference implementation's default: the 10000th number is 4123659995 (also in the C++ standard,
 * for mt19937). */
static void the_twister(void **state)
{
	struct mersenne m;
	uint32_t x = 0;

	mersenne_seed(&m, 5489);
	assert_int_equal(mersenne_next(&m), 3499211612u);
	for (int i = 1; i < 10000; i++)
		x = mersenne_next(&m);
	assert_int_equal(x, 4123659995u);
}

/* From torch 2.15.0, on a processor with AVX2: torch.randn(n, generator=g) for each n in turn.  Elements 0, 1, n/2,
 * n-2, n-1 of them all, and their sum. */
static const struct reference { uint64_t seed; size_t parts[4]; double at[5], sum; } references[] = {
	{ 0U, { 16 }, { -1.12583983, -1.1523602, 0.322274923, 1.11677718, -0.247278154 }, -1.90911431 },
	{ 42U, { 64 }, { 1.92691529, 1.48728406, -1.38467371, -1.18453741, 1.38354933 }, 2.10074018 },
	{ 42U, { 17 }, { 1.92691529, -0.159597471, 0.355859905, 0.859858513, -0.309726775 }, 8.21729577 },
	{ 42U, { 5 }, { 0.336690366, 0.128809407, 0.234462366, 0.23033303, -1.12285638 }, -0.192561209 },
	{ 1U, { 3, 20, 4 }, { 0.661352158, 0.266924113, 0.157770604, -1.27700698, 0.325501531 }, 1.93153579 },
	{ 4294967338U, { 64 }, { 1.92691529, 1.48728406, -1.38467371, -1.18453741, 1.38354933 }, 2.10074018 },
	{ 18446744073709551615U, { 1, 16, 1, 256 }, { 1.21976304, 1.89861786, 0.521301448, -2.35031843, -0.0129561946 },
	  1.17991335 },
	{ 20261125U, { 384, 384 }, { -0.0031416025, -0.929555953, 0.51169318, -0.699052691, 0.688666105 },
	  0.174473027 },
};

static void as_torch(void **state)
{
	for (size_t k = 0; k < sizeof(references) / sizeof(*references); k++) {
		const struct reference *r = &references[k];
		struct torch_noise t;
		float x[1024];
		size_t n = 0;
		double sum = 0;

		torch_seed(&t, r->seed);
		for (int i = 0; i < 4 && r->parts[i]; n += r->parts[i++])
			torch_normal(&t, x + n, r->parts[i]);
		for (size_t i = 0; i < n; i++)
			sum += x[i];
		const double got[5] = { x[0], x[1], x[n / 2], x[n - 2], x[n - 1] };
		/* values up to 4.5, where a float's last bit is 5e-7: one or two of it,
		 * as between PyTorch's own kernels */
		for (int i = 0; i < 5; i++)
			assert_true(fabs(got[i] - r->at[i]) < 1e-6);
		assert_true(fabs(sum - r->sum) < 1e-6 * n);
	}
}

/* A seed begins anew, whatever was left of a pair. */
static void seeding_forgets(void **state)
{
	struct torch_noise t;
	float a[3], b[3];

	torch_seed(&t, 9);
	torch_normal(&t, a, 3);
	torch_seed(&t, 9);
	torch_normal(&t, b, 3);
	assert_memory_equal(a, b, sizeof(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_twister), cmocka_unit_test(as_torch),
					    cmocka_unit_test(seeding_forgets) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
