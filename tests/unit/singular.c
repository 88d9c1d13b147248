/* Singular values: of matrices that were made of known ones, and the effective rank. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/singular.h"
#include <cmocka.h>     /* last: it takes the name fail */

static double drawn(uint32_t *at)
{
	*at = *at * 1664525u + 1013904223u;
	return *at / 4294967296.0 - 0.5;
}

/* x [n] of length 1 */
static void draw_direction(double *x, size_t n, uint32_t *at)
{
	double squares = 0;

	for (size_t i = 0; i < n; i++) {
		x[i] = drawn(at);
		squares += x[i] * x[i];
	}
	for (size_t i = 0; i < n; i++)
		x[i] /= sqrt(squares);
}

/* a [rows][columns] = H a or a H with H = I - 2 x x^T, which turns no singular value */
static void mirror_rows(double *a, size_t rows, size_t columns, const double *x)
{
	for (size_t j = 0; j < columns; j++) {
		double sum = 0;

		for (size_t i = 0; i < rows; i++)
			sum += x[i] * a[i * columns + j];
		for (size_t i = 0; i < rows; i++)
			a[i * columns + j] -= 2 * sum * x[i];
	}
}

static void mirror_columns(double *a, size_t rows, size_t columns, const double *x)
{
	for (size_t i = 0; i < rows; i++) {
		double sum = 0;

		for (size_t j = 0; j < columns; j++)
			sum += x[j] * a[i * columns + j];
		for (size_t j = 0; j < columns; j++)
			a[i * columns + j] -= 2 * sum * x[j];
	}
}

static double *made_of(const double *value, size_t n, size_t rows, size_t columns)
{
	double *a = xcalloc(rows * columns, sizeof(*a)), *x = xmalloc((rows + columns) * sizeof(*x));
	uint32_t at = 7;

	for (size_t i = 0; i < n; i++)
		a[i * columns + i] = value[i];
	for (int k = 0; k < 5; k++) {
		draw_direction(x, rows, &at);
		mirror_rows(a, rows, columns, x);
		draw_direction(x, columns, &at);
		mirror_columns(a, rows, columns, x);
	}
	free(x);
	return a;
}

/* Householder's reflections lose a few units of the last place a step: n of them, of the largest value. */
static void assert_values(const double *found, const double *value, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_true(fabs(found[i] - value[i]) <= n * 0x1p-50 * value[0]);
}

static void check(const double *value, size_t n, size_t rows, size_t columns)
{
	double *a = made_of(value, n, rows, columns), *found = xmalloc(n * sizeof(*found));

	singular_values(a, rows, columns, found);
	assert_values(found, value, n);
	free(found);
	free(a);
}

static void planted_values_are_found(void **state)
{
	static const double one[] = { 3 }, equal[] = { 2, 2, 2, 2 }, steep[] = { 1e8, 1e4, 1, 1e-4, 1e-8, 0 },
			    zeros[] = { 0, 0, 0 }, gap[] = { 5, 4, 3, 0, 0, 0, 0, 0 };
	double many[90];

	for (int i = 0; i < 90; i++)
		many[i] = 90.0 / (i + 1);
	check(one, 1, 1, 1);
	check(one, 1, 1, 9);
	check(one, 1, 9, 1);
	check(equal, 4, 4, 4);
	check(equal, 4, 4, 7);
	check(equal, 4, 20, 4);
	check(steep, 6, 6, 6);
	check(steep, 6, 6, 40);
	check(zeros, 3, 3, 5);
	check(gap, 8, 8, 8);
	check(gap, 8, 11, 8);
	check(many, 90, 90, 90);
	check(many, 90, 133, 90);
}

static void a_number_that_is_none_shows(void **state)
{
	double a[6] = { 1, 2, NAN, 3, 4, 5 }, value[2];

	singular_values(a, 2, 3, value);
	assert_true(isnan(value[0]) && isnan(value[1]));
}

/* n equal values: n.  (3,1): p = 3/4, 1/4, H = ln 4 - 3/4 ln 3, so exp(H) = 4 / 3^(3/4). */
static void the_effective_rank_is_exp_of_the_entropy(void **state)
{
	const double equal[] = { 2, 2, 2, 2, 2 }, one[] = { 7, 0, 0 }, two[] = { 3, 1 }, none[] = { 0, 0 };

	assert_true(fabs(effective_rank(equal, 5) - 5) < 1e-14);
	assert_true(fabs(effective_rank(one, 3) - 1) < 1e-15);
	assert_true(fabs(effective_rank(two, 2) - 4 / pow(3, 0.75)) < 1e-14);
	assert_true(effective_rank(none, 2) == 0);
	assert_true(effective_rank(none, 0) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(planted_values_are_found),
		cmocka_unit_test(a_number_that_is_none_shows),
		cmocka_unit_test(the_effective_rank_is_exp_of_the_entropy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
