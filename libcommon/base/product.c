/* Products in double: packing for the inner loop, and norms of products. */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "cpu.h"
#include "linalg.h"
#include "memory.h"
#include "product.h"
#include "product_loop.h"

/* PASS: rows of a that are packed at once.  PANELS: doubles of b, which stay in the second-level cache. */
enum { PASS = 16 * PRODUCT_ROWS, PANELS = 32768, LINE = 64 };

static const struct product_loop *best_loop(void)
{
#ifdef __x86_64__
	if (cpu_has_avx512())
		return &product_loop_avx512;
	if (cpu_has_avx2() && cpu_has_fma())
		return &product_loop_avx2;
#endif
	return &product_loop_portable;
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
static size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

void product_add_by(const struct product_loop *loop, double *c, size_t step, double scale, const struct matrix *a,
		    const struct matrix *b, size_t rows, size_t columns, size_t depth)
{
	const struct matrix turned = matrix_turned(b);
	const size_t deepest = smaller(depth, PRODUCT_DEPTH), most = round_up(smaller(rows, PASS), PRODUCT_ROWS),
		     chunk = round_up(smaller(columns, PANELS / (deepest + !deepest)), loop->columns);
	double *room = xmalloc((deepest * (most + chunk) + LINE) * sizeof(*room)),
	       *panels = (double *)round_up((uintptr_t)room, LINE), *left = panels + deepest * chunk;

	for (size_t k = 0; k < depth; k += PRODUCT_DEPTH)
		for (size_t j = 0; j < columns; j += chunk) {
			struct product_block p = { .step = step, .scale = scale, .a = left, .b = panels,
						   .columns = smaller(chunk, columns - j),
						   .depth = smaller(PRODUCT_DEPTH, depth - k),
						   .exact = a->floats && b->floats };

			loop->pack(panels, false, &turned, j, p.columns, k, p.depth);
			for (size_t i = 0; i < rows; i += PASS) {
				p.c = c + i * step + j;
				p.rows = smaller(PASS, rows - i);
				loop->pack(left, true, a, i, p.rows, k, p.depth);
				loop->block(&p);
			}
		}
	free(room);
}

void product_add(double *c, size_t step, double scale, const struct matrix *a, const struct matrix *b, size_t rows,
		 size_t columns, size_t depth)
{
	product_add_by(best_loop(), c, step, scale, a, b, rows, columns, depth);
}

/* [n][n] = x x^T with x [n][depth], in strips of rows: what is below the diagonal and in no strip stays 0. */
static double *gram(const struct matrix *x, size_t n, size_t depth)
{
	double *g = xcalloc(n * n, sizeof(*g));

	for (size_t i = 0; i < n; i += PASS) {
		const struct matrix left = matrix_from(x, i, 0), right = matrix_turned(&left);

		product_add(g + i * n + i, n, 1, &left, &right, smaller(PASS, n - i), n - i, depth);
	}
	return g;
}

static double *copy_of(const struct matrix *x, size_t rows, size_t columns)
{
	double *to = xcalloc(rows * columns + 1, sizeof(*to));

	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < columns; j++)
			to[i * columns + j] = matrix_at(x, i, j);
	return to;
}

static double length(const double *x, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += x[i] * x[i];
	return sqrt(sum);
}

/* [k][n] = R of x [rows][n], with k the smaller of rows and n: |x y| = |R y| */
static double *triangle(const struct matrix *x, size_t rows, size_t n)
{
	double *copy = copy_of(x, rows, n), *r = xcalloc(smaller(rows, n) * n + 1, sizeof(*r));

	qr_thin(NULL, r, copy, (int)rows, (int)n);
	free(copy);
	return r;
}

/* Of the lengths multiplied: what rounding makes of a product that is 0.  The rounding of QR is some halves of
 * DBL_EPSILON times the root of the depth. */
#define NOTHING (4 * DBL_EPSILON)

static double norm_by_qr(const struct matrix *a, const struct matrix *b, size_t rows, size_t columns, size_t depth)
{
	const size_t m = smaller(rows, depth), n = smaller(columns, depth);
	const struct matrix turned = matrix_turned(b);
	double *left = triangle(a, rows, depth), *right = triangle(&turned, columns, depth),
	       *product = xcalloc(m * n + 1, sizeof(*product)), norm;

	matrix_product_tb(product, left, right, (int)m, (int)n, (int)depth);
	norm = length(product, m * n);
	if (norm <= NOTHING * sqrt((double)depth) * length(left, m * depth) * length(right, n * depth))
		norm = 0;
	free(left);
	free(right);
	free(product);
	return norm;
}

/* Of the sizes of its terms: a trace below it has lost six digits. */
#define CANCELLED 1e-6

double product_norm(const struct matrix *a, const struct matrix *b, size_t rows, size_t columns, size_t depth)
{
	const struct matrix turned = matrix_turned(a);
	double *left = gram(&turned, depth, rows), *right = gram(b, depth, columns), sum = 0, sizes = 0;

	for (size_t i = 0; i < depth; i++)
		for (size_t j = i; j < depth; j++) {
			const double term = (i == j ? 1 : 2) * (left[i * depth + j] * right[i * depth + j]);

			sum += term;
			sizes += fabs(term);
		}
	free(left);
	free(right);
	return sum <= CANCELLED * sizes && sizes > 0 ? norm_by_qr(a, b, rows, columns, depth) : sqrt(fmax(sum, 0));
}
