/* Products, QR and singular values: against their definitions, closed forms, and the same loops without AVX2. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/cpu.h"
#include "../../libcommon/base/linalg.h"
#include "../../libcommon/base/linalg_loops.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/philox.h"
#include <cmocka.h>     /* after ours: its macro fail() hides base/error.h's function */

/* Sums of up to a thousand products of numbers near 1, each rounded at 1.1e-16. */
#define TOLERANCE 1e-13

static double *zeros(size_t n) { return xcalloc(n + 1, sizeof(double)); }

static double *randoms(uint32_t seed, size_t n)
{
	double *x = zeros(n);
	float *f = xmalloc((n + 1) * sizeof(*f));

	random_normal(&(struct random){ .seed = seed, .purpose = RANDOM_TEST }, f, n);
	for (size_t i = 0; i < n; i++)
		x[i] = f[i];
	free(f);
	return x;
}

static double norm(const double *x, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += x[i] * x[i];
	return sqrt(sum);
}

/* |x - y| over |y|, or |x| where y is zero */
static double difference(const double *x, const double *y, size_t n)
{
	double sum = 0, size = norm(y, n);

	for (size_t i = 0; i < n; i++)
		sum += (x[i] - y[i]) * (x[i] - y[i]);
	return sqrt(sum) / (size > 0 ? size : 1);
}

/* c = a b as the definition has it */
static double *product(const double *a, const double *b, int m, int n, int k)
{
	double *c = zeros((size_t)m * n);

	for (int i = 0; i < m; i++)
		for (int j = 0; j < n; j++)
			for (int l = 0; l < k; l++)
				c[i * n + j] += a[i * k + l] * b[l * n + j];
	return c;
}

static double *transposed(const double *a, int m, int n)
{
	double *b = zeros((size_t)m * n);

	matrix_transpose(b, a, m, n);
	for (int i = 0; i < m; i++)
		for (int j = 0; j < n; j++)
			assert_true(b[j * m + i] == a[i * n + j]);
	return b;
}

/* ---- products ---- */

static void test_products(void **state)
{
	static const int sizes[][3] = { { 1, 1, 1 }, { 4, 8, 128 }, { 5, 9, 129 }, { 66, 70, 257 }, { 67, 3, 1 },
					{ 3, 2, 0 } };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		const int m = sizes[i][0], n = sizes[i][1], k = sizes[i][2];
		double *a = randoms(i, (size_t)m * k), *b = randoms(100 + i, (size_t)k * n);
		double *at = transposed(a, m, k), *bt = transposed(b, k, n);
		double *want = product(a, b, m, n, k), *c = randoms(3, (size_t)m * n);

		matrix_product(c, a, b, m, n, k);
		assert_true(difference(c, want, (size_t)m * n) < TOLERANCE);
		matrix_product_ta(c, at, b, m, n, k);
		assert_true(difference(c, want, (size_t)m * n) < TOLERANCE);
		matrix_product_tb(c, a, bt, m, n, k);
		assert_true(difference(c, want, (size_t)m * n) < TOLERANCE);
		free(a), free(b), free(at), free(bt), free(want), free(c);
	}
}

#ifdef __x86_64__
/* What a machine without AVX2 computes is what one with it computes. */
static void test_same_bytes_on_every_machine(void **state)
{
	const struct linalg_loops *one = &linalg_portable, *other = &linalg_avx2;

	if (!cpu_has_avx2())
		skip();
	for (size_t n = 0; n < 70; n++) {
		double *x = randoms(n, n), *y = randoms(n + 100, n), *x2 = randoms(n, n), *y2 = randoms(n + 100, n);
		const double d1 = one->dot(x, y, n), d2 = other->dot(x, y, n);

		assert_memory_equal(&d1, &d2, sizeof(d1));
		one->rotate(x, y, 0.8, 0.6, n);
		other->rotate(x2, y2, 0.8, 0.6, n);
		one->add_scaled(y, 0.3, x, n);
		other->add_scaled(y2, 0.3, x2, n);
		assert_memory_equal(x, x2, n * sizeof(*x));
		assert_memory_equal(y, y2, n * sizeof(*y));
		free(x), free(y), free(x2), free(y2);
	}
}
#endif

/* ---- QR ---- */

/* |q^T q - 1|, but for columns that are 0 */
static double skew(const double *q, int m, int n)
{
	double *qt = transposed(q, m, n), *gram = product(qt, q, n, n, m), *one = zeros((size_t)n * n), d;

	for (int i = 0; i < n; i++)
		one[i * n + i] = gram[i * n + i] == 0 ? 0 : 1;
	d = difference(gram, one, (size_t)n * n);
	free(qt), free(gram), free(one);
	return d;
}

static void check_qr(const double *a, int m, int n)
{
	const int k = m < n ? m : n;
	double *q = zeros((size_t)m * (n > k ? n : k)), *r = randoms(1, (size_t)k * n), *back, *alone;

	/* q over a */
	memcpy(q, a, (size_t)m * n * sizeof(*q));
	qr_thin(q, r, q, m, n);
	back = product(q, r, m, n, k);
	assert_true(difference(back, a, (size_t)m * n) < TOLERANCE);
	assert_true(skew(q, m, k) < TOLERANCE);
	for (int i = 0; i < k; i++)
		for (int j = 0; j < i && j < n; j++)
			assert_true(r[i * n + j] == 0);
	alone = zeros((size_t)k * n);
	qr_thin(NULL, alone, a, m, n);
	assert_memory_equal(alone, r, (size_t)k * n * sizeof(*r));
	free(q), free(r), free(back), free(alone);
}

static const int shapes[][2] = { { 1, 1 }, { 5, 1 }, { 1, 5 }, { 8, 8 }, { 9, 8 }, { 8, 9 }, { 64, 17 }, { 17, 64 },
				 { 300, 33 }, { 3, 130 } };
enum { SHAPES = sizeof(shapes) / sizeof(*shapes) };

static void test_qr(void **state)
{
	for (int i = 0; i < SHAPES; i++) {
		const int m = shapes[i][0], n = shapes[i][1];
		double *a = randoms(i, (size_t)m * n), *none = zeros((size_t)m * n);

		check_qr(a, m, n);
		check_qr(none, m, n);
		/* columns that are zero, the same as another, or 1e-12 from it */
		for (int row = 0; row < m && n > 4; row++) {
			a[row * n + 1] = 0;
			a[row * n + 3] = a[row * n];
			a[row * n + 4] = a[row * n + 2] * (1 + 1e-12 * row);
		}
		check_qr(a, m, n);
		free(a), free(none);
	}
}

/* ---- singular values ---- */

static void check_svd(const double *a, int m, int n, const double *values)
{
	const int k = m < n ? m : n;
	double *u = randoms(1, (size_t)m * k), *s = randoms(2, k), *vt = randoms(3, (size_t)k * n), *scaled, *back, *v;

	svd_small(u, s, vt, a, m, n);
	scaled = zeros((size_t)m * k);
	for (int i = 0; i < m * k; i++)
		scaled[i] = u[i] * s[i % k];
	back = product(scaled, vt, m, n, k);
	v = transposed(vt, k, n);
	assert_true(difference(back, a, (size_t)m * n) < TOLERANCE);
	assert_true(skew(u, m, k) < TOLERANCE);
	assert_true(skew(v, n, k) < TOLERANCE);
	for (int i = 0; i < k; i++) {
		assert_true(s[i] >= 0 && (!i || s[i] <= s[i - 1]));
		if (values)
			assert_true(fabs(s[i] - values[i]) <= TOLERANCE * values[0]);
	}
	free(u), free(s), free(vt), free(scaled), free(back), free(v);
}

static void test_svd(void **state)
{
	for (int i = 0; i < SHAPES; i++) {
		const int m = shapes[i][0], n = shapes[i][1];
		double *a = randoms(i, (size_t)m * n), *none = zeros((size_t)m * n);

		check_svd(a, m, n, NULL);
		check_svd(none, m, n, none);
		free(a), free(none);
	}
}

/* Lower triangular, all ones: 1 / (2 sin((2k - 1) pi / (4n + 2))).  All ones: one value, sqrt(mn).  Both turned. */
static void test_singular_values_known(void **state)
{
	enum { N = 90 };
	double *triangle = zeros(N * N), *turned, *ones = zeros(N * 7), values[N], one[7] = { sqrt(N * 7) };

	for (int i = 0; i < N; i++) {
		for (int j = 0; j <= i; j++)
			triangle[i * N + j] = 1;
		values[i] = 1 / (2 * sin((2 * i + 1) * M_PI / (4 * N + 2)));
	}
	for (int i = 0; i < N * 7; i++)
		ones[i] = 1;
	turned = transposed(triangle, N, N);
	check_svd(triangle, N, N, values);
	check_svd(turned, N, N, values);
	check_svd(ones, N, 7, one);
	check_svd(ones, 7, N, one);
	free(triangle), free(turned), free(ones);
}

/* Values that fall from 1 to 1e-30 and come in twos: each is right by its own size, which a product with the transpose
 * could not give.  The rows of a are orthogonal and are scaled. */
static void test_small_singular_values(void **state)
{
	enum { N = 32 };
	double *q = randoms(5, N * N), *r = zeros(N * N), *u = zeros(N * N), *vt = zeros(N * N), s[N];

	qr_thin(q, r, q, N, N);
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++)
			q[i * N + j] *= pow(10, -2 * (i / 2));
	svd_small(u, s, vt, q, N, N);
	for (int i = 0; i < N; i++)
		assert_true(fabs(s[i] / pow(10, -2 * (i / 2)) - 1) < TOLERANCE);
	free(q), free(r), free(u), free(vt);
}

static void test_svd_of_a_product(void **state)
{
	static const int cases[][3] = { { 60, 50, 12 }, { 50, 60, 12 }, { 10, 40, 24 }, { 40, 10, 24 }, { 5, 6, 40 },
					{ 9, 1, 3 }, { 1, 1, 1 } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const int m = cases[i][0], n = cases[i][1], r = cases[i][2];
		const int k = m < n ? (m < r ? m : r) : n < r ? n : r, all = m < n ? m : n;
		double *up = randoms(i, (size_t)m * r), *down = randoms(i + 50, (size_t)r * n);
		double *whole = product(up, down, m, n, r), *back;
		double *u = zeros((size_t)m * all), *s = zeros(all), *vt = zeros((size_t)all * n), *same = zeros(all);

		svd_small(u, same, vt, whole, m, n);
		svd_product(u, s, vt, up, down, m, n, r);
		assert_true(difference(s, same, k) < TOLERANCE);
		memset(same, 0, all * sizeof(*same));
		svd_product(NULL, same, NULL, up, down, m, n, r);
		assert_memory_equal(same, s, k * sizeof(*s));
		assert_true(skew(u, m, k) < TOLERANCE);
		for (int j = 0; j < m * k; j++)
			u[j] *= s[j % k];
		back = product(u, vt, m, n, k);
		assert_true(difference(back, whole, (size_t)m * n) < TOLERANCE);
		free(up), free(down), free(whole), free(back), free(u), free(s), free(vt), free(same);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_products),
#ifdef __x86_64__
		cmocka_unit_test(test_same_bytes_on_every_machine),
#endif
		cmocka_unit_test(test_qr),
		cmocka_unit_test(test_svd),
		cmocka_unit_test(test_singular_values_known),
		cmocka_unit_test(test_small_singular_values),
		cmocka_unit_test(test_svd_of_a_product),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
