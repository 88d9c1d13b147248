/* Elementary functions of plain arithmetic against the C library's in more digits. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <float.h>
#include <math.h>
#include "../../libcommon/base/elementary.h"
#include <cmocka.h>

static uint64_t state = 88172645463325252u;

/* in [low, high) */
static double drawn(double low, double high)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return low + (high - low) * ((double)(state >> 11) * 0x1p-53);
}

/* Units in the last place of the true value; scale: of what the error is measured, at least */
static void near(double got, long double exact, double ulps, double scale)
{
	const double unit = fmax(fabs((double)exact), scale) * DBL_EPSILON;

	if (!(fabsl((long double)got - exact) <= (long double)(ulps * unit)))
		print_error("%.17g, not %.17Lg\n", got, exact);
	assert_true(fabsl((long double)got - exact) <= (long double)(ulps * unit));
}

static void near_the_librarys(void **unused)
{
	(void)unused;
	for (int i = 0; i < 200000; i++) {
		const double x = drawn(-40, 40), y = plain_exp(drawn(-600, 600)), b = drawn(0.5, 1),
			     n = drawn(65, 9999);

		near(plain_exp(x), expl(x), 1.5, 0);
		near(plain_log(y), logl(y), 1.5, 0);
		near(plain_log(b + 0.5), logl(b + 0.5), 1.5, 0);
		/* the reduction's error is of the argument's unit, not of the result's */
		near(plain_sin(50 * x), sinl(50 * x), 1.5, 1e-3);
		near(plain_cos(50 * x), cosl(50 * x), 1.5, 1e-3);
		near(plain_sin(500 * x), sinl(500 * x), 1.5, 1);
		/* the exponent is off by 2 ulp: the logarithm and a product */
		near(plain_pow(b, x), powl(b, x), 2 + 2 * fabs(x * log(b)), 0);
		near(plain_pow(b, n), powl(b, n), 2 + 2 * fabs(n * log(b)), DBL_MIN);
	}
}

static void ends(void **unused)
{
	(void)unused;
	assert_true(plain_exp(0) == 1 && plain_exp(-INFINITY) == 0);
	assert_true(isinf(plain_exp(INFINITY)) && isnan(plain_exp(NAN)));
	assert_true(plain_exp(-745) > 0 && plain_exp(-750) == 0 && isinf(plain_exp(710)));
	assert_true(plain_log(1) == 0 && isinf(plain_log(0)) && plain_log(0) < 0 && isnan(plain_log(-1)));
	assert_true(isinf(plain_log(INFINITY)) && isnan(plain_log(NAN)));
	assert_true(plain_sin(0) == 0 && plain_cos(0) == 1 && isnan(plain_sin(NAN)));
	assert_true(isnan(plain_cos(INFINITY)) && isnan(plain_sin(-INFINITY)));
	assert_true(plain_pow(2, 10) == 1024 && plain_pow(10, -2) == 0.01);
	assert_true(plain_pow(3, 0) == 1 && plain_pow(-2, 3) == -8);
	assert_true(plain_pow(0, 0.5) == 0 && isinf(plain_pow(0, -0.5)) && isnan(plain_pow(-1, 0.5)));
	near(plain_log(5e-324), logl(5e-324), 1.5, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(near_the_librarys), cmocka_unit_test(ends) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
