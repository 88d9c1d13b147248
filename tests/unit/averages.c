/* Weights of averages over a run's saves. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include "../../libcommon/merge/averages.h"
#include <cmocka.h>     /* last: it takes the name fail */

enum { N = 5 };

static double sum(const double *w)
{
	double s = 0;

	for (int i = 0; i < N; i++)
		s += w[i];
	return s;
}

/* The average itself, save by save. */
static void as_the_recursion(void **state)
{
	const double step[N] = { 100, 250, 300, 1000, 1001 }, x[N] = { 1, -2, 3, 0.5, 7 };
	double w[N], ema = x[0], power = 0, before = 0, got = 0;

	weights_of_ema(w, N, 0.9);
	for (int i = 1; i < N; i++)
		ema = 0.9 * ema + 0.1 * x[i];
	for (int i = 0; i < N; i++)
		got += w[i] * x[i];
	assert_true(fabs(got - ema) < 1e-14 && fabs(sum(w) - 1) < 1e-14);
	/* beta(t) = (1 - 1/t)^(gamma + 1) of section 3.1, every step, with the parameters of the next save */
	weights_of_power(w, step, N, 6.94);
	for (int i = 0; i < N; i++)
		for (double t = before + 1; t <= step[i]; t++) {
			const double beta = pow(1 - 1 / t, 6.94 + 1);

			power = beta * power + (1 - beta) * x[i];
			before = t;
		}
	got = 0;
	for (int i = 0; i < N; i++)
		got += w[i] * x[i];
	assert_true(fabs(got - power) < 1e-11 && fabs(sum(w) - 1) < 1e-14);
	weights_of_mean(w, N);
	assert_true(w[0] == 0.2 && w[4] == 0.2);
}

/* The paper's own pairs: widths of 5 and 10 % are gammas of 16.97 and 6.94. */
static void widths(void **state)
{
	assert_true(fabs(gamma_of_width(0.05) - 16.97) < 5e-3);
	assert_true(fabs(gamma_of_width(0.10) - 6.94) < 5e-3);
	assert_true(gamma_of_width(WIDEST) < 1e-9);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(as_the_recursion), cmocka_unit_test(widths) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
