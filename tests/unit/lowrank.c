/* Low-rank approximations against all singular values, by Jacobi's rotations. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/adapter/lowrank.h"
#include "../../libcommon/base/linalg.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/philox.h"
#include "../../libcommon/base/thread.h"
#include <cmocka.h>     /* last: it takes the name fail */

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static float *normal(size_t n, uint32_t item)
{
	const struct random r = { .purpose = RANDOM_TEST, .item = item };
	float *x = xmalloc(n * sizeof(*x));

	random_normal(&r, x, n);
	return x;
}

static double *orthonormal(size_t rows, size_t n, uint32_t item)
{
	double *q = xmalloc(rows * n * sizeof(*q)), *r = xmalloc(n * n * sizeof(*r));
	float *x = normal(rows * n, item);

	for (size_t i = 0; i < rows * n; i++)
		q[i] = x[i];
	qr_thin(q, r, q, (int)rows, (int)n);
	free(x);
	free(r);
	return q;
}

/* Singular value i of n */
typedef double spectrum(size_t i, size_t n);
static double flat(size_t i, size_t n) { return 1; }
static double slow(size_t i, size_t n) { return pow(i + 1, -0.25); }
static double steady(size_t i, size_t n) { return 1 / (i + 1.0); }
static double steep(size_t i, size_t n) { return pow(0.9, i); }
static double stair(size_t i, size_t n) { return i < 12 ? 1 : 0.8; }
static double planted(size_t i, size_t n) { return i < 8 ? 1.0 / (i + 1) : 1e-5; }

/* [rows][columns] with that spectrum; NULL: normal numbers */
static float *matrix(size_t rows, size_t columns, spectrum *value)
{
	const size_t n = smaller(rows, columns);
	double *u, *v, *a;
	float *x;

	if (!value)
		return normal(rows * columns, 1);
	u = orthonormal(rows, n, 2);
	v = orthonormal(columns, n, 3);
	a = xmalloc(rows * columns * sizeof(*a));
	x = xmalloc(rows * columns * sizeof(*x));
	for (size_t i = 0; i < rows * n; i++)
		u[i] *= value(i % n, n);
	matrix_product_tb(a, u, v, (int)rows, (int)columns, (int)n);
	for (size_t i = 0; i < rows * columns; i++)
		x[i] = (float)a[i];
	free(u);
	free(v);
	free(a);
	return x;
}

/* What the best approximation of that rank loses. */
static double least_lost(const float *x, size_t rows, size_t columns, size_t rank)
{
	const size_t n = smaller(rows, columns);
	double *a = xmalloc(rows * columns * sizeof(*a)), *u = xmalloc(rows * n * sizeof(*u)),
	       *s = xmalloc(n * sizeof(*s)), *vt = xmalloc(n * columns * sizeof(*vt)), sum = 0;

	for (size_t i = 0; i < rows * columns; i++)
		a[i] = x[i];
	svd_small(u, s, vt, a, (int)rows, (int)columns);
	for (size_t i = rank; i < n; i++)
		sum += s[i] * s[i];
	free(a);
	free(u);
	free(s);
	free(vt);
	return sqrt(sum);
}

static double lost(const float *x, size_t rows, size_t columns, size_t rank)
{
	float *up = xmalloc(rows * rank * sizeof(*up)), *down = xmalloc(rank * columns * sizeof(*down));
	const struct factors f = { up, down, rank };
	struct lowrank l;
	double result;

	lowrank_of_matrix(&l, x, rows, columns, rank);
	lowrank_factors(&l, rank, up, down);
	result = lowrank_lost_of_matrix(x, rows, columns, &f);
	lowrank_free(&l);
	free(up);
	free(down);
	return result;
}

/* 1.01 is what lowrank.h promises; what is lost to the factors' own rounding to floats is below 1e-6 of the whole. */
static void near_the_best(void **unused)
{
	static spectrum *const spectra[] = { NULL, flat, slow, steady, steep, stair, planted };
	static const size_t sides[][2] = { { 96, 96 }, { 160, 40 }, { 40, 160 }, { 9, 300 } },
			    ranks[] = { 1, 4, 8, 32 };

	(void)unused;
	for (size_t i = 0; i < sizeof(spectra) / sizeof(*spectra); i++)
		for (size_t k = 0; k < sizeof(sides) / sizeof(*sides); k++) {
			float *x = matrix(sides[k][0], sides[k][1], spectra[i]);
			const double whole = least_lost(x, sides[k][0], sides[k][1], 0);

			for (size_t j = 0; j < sizeof(ranks) / sizeof(*ranks); j++) {
				const double best = least_lost(x, sides[k][0], sides[k][1], ranks[j]),
					     ours = lost(x, sides[k][0], sides[k][1], ranks[j]);

				if (ours > 1.01 * best + 1e-6 * whole)
					print_error("spectrum %zu, %zu x %zu, rank %zu: %g, best %g\n", i, sides[k][0],
						    sides[k][1], ranks[j], ours, best);
				assert_true(ours <= 1.01 * best + 1e-6 * whole);
			}
			free(x);
		}
}

/* 3e-7 of the greatest: the product's own rounding to floats, by which the dense matrix differs. */
static void products(void **unused)
{
	static const size_t sizes[][3] = { { 60, 50, 6 }, { 5, 70, 8 }, { 70, 5, 8 }, { 12, 12, 12 } };

	(void)unused;
	for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		const size_t rows = sizes[k][0], columns = sizes[k][1], rank = sizes[k][2];
		float *up = normal(rows * rank, 4), *down = normal(rank * columns, 5),
		      *x = xcalloc(rows * columns, sizeof(*x));
		struct lowrank l;

		for (size_t i = 0; i < rows; i++)
			for (size_t j = 0; j < columns; j++) {
				double sum = 0;

				for (size_t m = 0; m < rank; m++)
					sum += (double)up[i * rank + m] * down[m * columns + j];
				x[i * columns + j] = (float)sum;
			}
		lowrank_of_product(&l, up, down, rows, columns, rank);
		for (size_t r = 0; r <= l.known; r++) {
			float *u = xcalloc(rows * r + 1, sizeof(*u)), *d = xcalloc(r * columns + 1, sizeof(*d));
			const struct factors was = { up, down, rank }, now = { u, d, r };
			const double best = least_lost(x, rows, columns, r);

			lowrank_factors(&l, r, u, d);
			assert_true(fabs(lowrank_lost_of_product(&was, rows, columns, &now) - best) <=
				    3e-7 * sqrt(l.squares));
			free(u);
			free(d);
		}
		lowrank_free(&l);
		free(up);
		free(down);
		free(x);
	}
}

static void more_than_there_is(void **unused)
{
	float *up = normal(20 * 3, 6), *down = normal(3 * 30, 7), u[20 * 5], d[5 * 30];
	const struct factors was = { up, down, 3 }, now = { u, d, 5 };
	struct lowrank l;

	(void)unused;
	lowrank_of_product(&l, up, down, 20, 30, 3);
	lowrank_factors(&l, 5, u, d);
	assert_true(lowrank_lost_of_product(&was, 20, 30, &now) <= 1e-6 * sqrt(l.squares));
	for (size_t i = 0; i < 20; i++)
		assert_true(u[i * 5 + 3] == 0 && u[i * 5 + 4] == 0);
	lowrank_free(&l);
	free(up);
	free(down);
}

static void nothing(void **unused)
{
	float *zeros = xcalloc(50 * 40, sizeof(*zeros));

	(void)unused;
	assert_true(lost(zeros, 50, 40, 4) == 0);
	free(zeros);
}

static void threads_change_nothing(void **unused)
{
	float *x = matrix(700, 90, slow);
	struct lowrank one, many;

	(void)unused;
	threads_use(1);
	lowrank_of_matrix(&one, x, 700, 90, 5);
	threads_use(3);
	lowrank_of_matrix(&many, x, 700, 90, 5);
	assert_int_equal(one.known, many.known);
	assert_memory_equal(one.value, many.value, one.known * sizeof(double));
	assert_memory_equal(one.left, many.left, 700 * one.known * sizeof(double));
	assert_memory_equal(one.right, many.right, 90 * one.known * sizeof(double));
	lowrank_free(&one);
	lowrank_free(&many);
	free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(near_the_best),
		cmocka_unit_test(products),
		cmocka_unit_test(more_than_there_is),
		cmocka_unit_test(nothing),
		cmocka_unit_test(threads_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
