/* Products in double: every inner loop against sums written out in the order that product.h promises, bit for bit. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/cpu.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/product_loop.h"
#include <cmocka.h>

static const struct product_loop *loops[3] = { &product_loop_portable };

/* A number with all of a float's bits, or a double's. */
static double number(uint64_t i, bool wide)
{
	const double x = (double)((i * 0x9e3779b97f4a7c15u >> 11) % 0x1fffffffffffff) * 0x1p-52 - 1;

	return wide ? x : (float)x;
}

struct filled { struct matrix m; void *room; };

/* wide: of doubles; turned: element (i,k) lies at k * rows + i, else at i * columns + k */
static struct filled fill(size_t rows, size_t columns, bool wide, bool turned, uint64_t seed)
{
	const size_t n = rows * columns;
	double *d = xmalloc(n * sizeof(*d));
	float *f = xmalloc(n * sizeof(*f));
	struct filled x = { .m = { .row = turned ? 1 : columns, .column = turned ? rows : 1 } };

	for (size_t i = 0; i < n; i++) {
		d[i] = number(seed + i, wide);
		f[i] = (float)d[i];
	}
	x.room = wide ? (void *)d : (void *)f;
	x.m.doubles = wide ? d : NULL;
	x.m.floats = wide ? NULL : f;
	free(wide ? (void *)f : (void *)d);
	return x;
}

/* In the order that is promised, each product and each sum rounded. */
static double written_out(double c, double scale, const struct matrix *a, const struct matrix *b, size_t i, size_t j,
			  size_t depth)
{
	for (size_t first = 0; first < depth; first += PRODUCT_DEPTH) {
		double sum = 0;

		for (size_t k = first; k < depth && k < first + PRODUCT_DEPTH; k++)
			sum += matrix_at(a, i, k) * matrix_at(b, k, j);
		c += scale * sum;
	}
	return c;
}

static void check(const struct product_loop *loop, size_t rows, size_t columns, size_t depth, int form)
{
	const size_t step = columns + 3;
	struct filled a = fill(rows, depth, form & 1, form & 2, 1), b = fill(depth, columns, form & 4, form & 8, 7777);
	double *c = xmalloc(rows * step * sizeof(*c));

	for (size_t i = 0; i < rows * step; i++)
		c[i] = number(i, true);
	product_add_by(loop, c, step, 0.3, &a.m, &b.m, rows, columns, depth);
	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < step; j++) {
			const double was = number(i * step + j, true),
				     is = j < columns ? written_out(was, 0.3, &a.m, &b.m, i, j, depth) : was;

			assert_memory_equal(&c[i * step + j], &is, sizeof(is));
		}
	free(a.room);
	free(b.room);
	free(c);
}

static void every_element_has_one_order(void **state)
{
	static const size_t shapes[][3] = { { 1, 1, 1 },   { 6, 8, 32 },   { 7, 9, 33 },	 { 13, 3, 4 },
					    { 97, 31, 5 }, { 5, 300, 257 }, { 100, 17, 2 * 256 + 1 } };

	for (int l = 0; l < 3 && loops[l]; l++)
		for (size_t s = 0; s < sizeof(shapes) / sizeof(*shapes); s++)
			for (int form = 0; form < 16; form++)
				check(loops[l], shapes[s][0], shapes[s][1], shapes[s][2], form);
}

/* Another rectangle of the same product has the same elements. */
static void a_part_is_that_of_the_whole(void **state)
{
	const size_t rows = 50, columns = 70, depth = 40;
	struct filled a = fill(rows, depth, false, false, 5), b = fill(depth, columns, false, false, 6);
	const struct matrix low = matrix_from(&a.m, 11, 0), right = matrix_from(&b.m, 0, 13);
	double *whole = xcalloc(rows * columns, sizeof(*whole)), part[20 * 30] = { 0 };

	product_add(whole, columns, 1, &a.m, &b.m, rows, columns, depth);
	product_add(part, 30, 1, &low, &right, 20, 30, depth);
	for (size_t i = 0; i < 20; i++)
		assert_memory_equal(part + i * 30, whole + (i + 11) * columns + 13, 30 * sizeof(*part));
	free(whole);
	free(a.room);
	free(b.room);
}

static void norm_without_the_product(void **state)
{
	static const size_t shapes[][3] = { { 40, 30, 1 }, { 20, 500, 16 }, { 300, 270, 130 } };

	for (size_t s = 0; s < 3; s++)
		for (int form = 0; form < 16; form++) {
			const size_t rows = shapes[s][0], columns = shapes[s][1], depth = shapes[s][2];
			struct filled a = fill(rows, depth, form & 1, form & 2, 1),
				      b = fill(depth, columns, form & 4, form & 8, 7777);
			double sum = 0, norm = product_norm(&a.m, &b.m, rows, columns, depth);

			for (size_t i = 0; i < rows; i++)
				for (size_t j = 0; j < columns; j++) {
					const double x = written_out(0, 1, &a.m, &b.m, i, j, depth);

					sum += x * x;
				}
			assert_true(fabs(norm - sqrt(sum)) <= 1e-12 * sqrt(sum));
			free(a.room);
			free(b.room);
		}
}

/* [u, -u] times d over (1 - t) d is t u d.  Rounding is of the order of the depth times DBL_EPSILON of the lengths. */
static void norm_of_what_cancels(void **state)
{
	enum { ROWS = 60, COLUMNS = 50, HALF = 20, DEPTH = 2 * HALF };
	static const double left_over[] = { 0x1p-12, 0x1p-24, 0x1p-40, 0 };
	struct filled u = fill(ROWS, HALF, 0, 0, 1), d = fill(HALF, COLUMNS, 0, 0, 7777);
	double up[ROWS * DEPTH], down[DEPTH * COLUMNS], norm;
	const struct matrix a = { .doubles = up, .row = DEPTH, .column = 1 },
			    b = { .doubles = down, .row = COLUMNS, .column = 1 };
	const double whole = product_norm(&u.m, &d.m, ROWS, COLUMNS, HALF);

	for (size_t t = 0; t < sizeof(left_over) / sizeof(*left_over); t++) {
		double lengths[2] = { 0 };

		for (size_t i = 0; i < ROWS; i++)
			for (size_t k = 0; k < DEPTH; k++)
				up[i * DEPTH + k] = (k < HALF ? 1 : -1) * matrix_at(&u.m, i, k % HALF);
		for (size_t k = 0; k < DEPTH; k++)
			for (size_t j = 0; j < COLUMNS; j++)
				down[k * COLUMNS + j] = (k < HALF ? 1 : 1 - left_over[t]) *
							matrix_at(&d.m, k % HALF, j);
		for (size_t i = 0; i < ROWS * DEPTH; i++)
			lengths[0] += up[i] * up[i];
		for (size_t i = 0; i < DEPTH * COLUMNS; i++)
			lengths[1] += down[i] * down[i];
		norm = product_norm(&a, &b, ROWS, COLUMNS, DEPTH);
		assert_true(fabs(norm - left_over[t] * whole) <= DEPTH * DBL_EPSILON * sqrt(lengths[0] * lengths[1]));
		assert_true(left_over[t] > 0 || norm == 0);
	}
	free(u.room);
	free(d.room);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_element_has_one_order),
		cmocka_unit_test(a_part_is_that_of_the_whole),
		cmocka_unit_test(norm_without_the_product), cmocka_unit_test(norm_of_what_cancels),
	};

#ifdef __x86_64__
	if (cpu_has_avx2() && cpu_has_fma())
		loops[1] = &product_loop_avx2;
	if (cpu_has_avx512())
		loops[2] = &product_loop_avx512;
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
