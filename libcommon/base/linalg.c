/*
 * linalg.c - products by their shapes; QR by Householder's reflections, a block of them at a time (Golub and Van Loan,
 * Matrix Computations, 5.1 and 5.2; Schreiber and Van Loan 1989 for the blocks).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cpu.h"
#include "linalg.h"
#include "linalg_loops.h"
#include "memory.h"
#include "product.h"

static double *doubles(size_t rows, size_t columns)
{
	return xcalloc(rows * columns + 1, sizeof(double));
}

static int smaller(int a, int b) { return a < b ? a : b; }

const struct linalg_loops *linalg_loops(void)
{
#ifdef __x86_64__
	if (cpu_has_avx2())
		return &linalg_avx2;
#endif
	return &linalg_portable;
}

/* ---- products ---- */

static void multiply(double *c, struct matrix a, struct matrix b, int m, int n, int k)
{
	memset(c, 0, (size_t)m * n * sizeof(*c));
	product_add(c, n, 1, &a, &b, m, n, k);
}

void matrix_product(double *c, const double *a, const double *b, int m, int n, int k)
{
	multiply(c, (struct matrix){ .doubles = a, .row = k, .column = 1 },
		 (struct matrix){ .doubles = b, .row = n, .column = 1 }, m, n, k);
}

void matrix_product_ta(double *c, const double *a, const double *b, int m, int n, int k)
{
	multiply(c, (struct matrix){ .doubles = a, .row = 1, .column = m },
		 (struct matrix){ .doubles = b, .row = n, .column = 1 }, m, n, k);
}

void matrix_product_tb(double *c, const double *a, const double *b, int m, int n, int k)
{
	multiply(c, (struct matrix){ .doubles = a, .row = k, .column = 1 },
		 (struct matrix){ .doubles = b, .row = 1, .column = k }, m, n, k);
}

/* In squares of a few cache lines: both matrices are read and written line by line. */
void matrix_transpose(double *b, const double *a, int m, int n)
{
	enum { SQUARE = 16 };

	for (int i0 = 0; i0 < m; i0 += SQUARE)
		for (int j0 = 0; j0 < n; j0 += SQUARE)
			for (int i = i0; i < m && i < i0 + SQUARE; i++)
				for (int j = j0; j < n && j < j0 + SQUARE; j++)
					b[(size_t)j * m + i] = a[(size_t)i * n + j];
}

double *to_doubles(const float *x, size_t n)
{
	double *out = xmalloc(n * sizeof(*out));

	for (size_t i = 0; i < n; i++)
		out[i] = x[i];
	return out;
}

/* ---- QR ---- */

/* Reflections that are applied at once: I - V t V^T. */
enum { BLOCK = 8 };

struct qr {
	const struct linalg_loops *loops;
	int m, n, k;
	double *a;                      /* [m,n], becomes r */
	double *v;                      /* [k,m]: a reflection's vector in each row, 1 in the place of its number */
	double *t;                      /* [k,BLOCK]: of each block the upper triangle */
};

/* x [n] is reflected onto its first element.  Becomes the vector, with 1 in front; *first is what the element is then.
 * Returns the factor: I - factor v v^T. */
static double reflect(const struct qr *q, double *x, int n, double *first)
{
	const double rest = q->loops->dot(x + 1, x + 1, n - 1), head = x[0];
	const double norm = copysign(sqrt(head * head + rest), head);

	*first = head;
	x[0] = 1;
	if (rest == 0)
		return 0;
	*first = -norm;
	for (int i = 1; i < n; i++)
		x[i] /= head + norm;
	return (head + norm) / norm;
}

/* The rows of t that tell how reflection j of a block goes with those before it.  v: the block's first, from its own
 * place on. */
static void link_reflection(const struct qr *q, const double *v, double *t, int j, int n, double factor)
{
	double with[BLOCK];

	for (int i = 0; i < j; i++)
		with[i] = q->loops->dot(v + (size_t)i * q->m, v + (size_t)j * q->m, n);
	for (int i = 0; i < j; i++) {
		double sum = 0;

		for (int l = i; l < j; l++)
			sum += t[i * BLOCK + l] * with[l];
		t[i * BLOCK + j] = -factor * sum;
	}
	t[j * BLOCK + j] = factor;
}

/* The reflections of columns first..first+count, from those columns alone. */
static void factor_block(struct qr *q, int first, int count)
{
	const int n = q->m - first;
	double *v = q->v + (size_t)first * q->m + first, *t = q->t + (size_t)first * BLOCK;

	for (int j = 0; j < count; j++)
		for (int i = 0; i < n; i++)
			v[(size_t)j * q->m + i] = q->a[(size_t)(first + i) * q->n + first + j];
	for (int j = 0; j < count; j++) {
		double *x = v + (size_t)j * q->m, diagonal;
		const double factor = reflect(q, x + j, n - j, &diagonal);

		for (int i = 0; i < n; i++)
			q->a[(size_t)(first + i) * q->n + first + j] = i < j ? x[i] : i > j ? 0 : diagonal;
		memset(x, 0, j * sizeof(*x));
		link_reflection(q, v, t, j, n, factor);
		for (int l = j + 1; l < count; l++) {
			double *other = v + (size_t)l * q->m;

			q->loops->add_scaled(other + j, -factor * q->loops->dot(x + j, other + j, n - j), x + j,
					     n - j);
		}
	}
}

/* c [m - first, n] -= V t V^T c, or with t^T: the block's reflections, last or first of them first. */
static void apply_block(const struct qr *q, int first, int count, bool transposed, double *c, size_t ldc, int n)
{
	const double *v = q->v + (size_t)first * q->m + first, *t = q->t + (size_t)first * BLOCK;
	double *inner = doubles(count, n), *outer = doubles(count, n);
	const struct matrix turned = { .doubles = v, .row = q->m, .column = 1 }, block = matrix_turned(&turned),
			    from = { .doubles = c, .row = ldc, .column = 1 },
			    back = { .doubles = outer, .row = n, .column = 1 };

	product_add(inner, n, 1, &turned, &from, count, n, q->m - first);
	for (int i = 0; i < count; i++)
		for (int l = 0; l < count; l++)
			q->loops->add_scaled(outer + (size_t)i * n, -(transposed ? t[l * BLOCK + i] : t[i * BLOCK + l]),
					     inner + (size_t)l * n, n);
	product_add(c, ldc, 1, &block, &back, q->m - first, n, count);
	free(inner);
	free(outer);
}

static void form_q(const struct qr *q, double *out)
{
	memset(out, 0, (size_t)q->m * q->k * sizeof(*out));
	for (int i = 0; i < q->k; i++)
		out[(size_t)i * q->k + i] = 1;
	for (int first = (q->k - 1) / BLOCK * BLOCK; first >= 0; first -= BLOCK)
		apply_block(q, first, smaller(BLOCK, q->k - first), false, out + (size_t)first * q->k + first, q->k,
			    q->k - first);
}

void qr_thin(double *q, double *r, const double *a, int m, int n)
{
	const int k = smaller(m, n);
	struct qr w = { .loops = linalg_loops(), .m = m, .n = n, .k = k, .a = doubles(m, n), .v = doubles(k, m),
			.t = doubles(k, BLOCK) };

	memcpy(w.a, a, (size_t)m * n * sizeof(*a));
	for (int first = 0; first < k; first += BLOCK) {
		const int count = smaller(BLOCK, k - first), next = first + count;

		factor_block(&w, first, count);
		if (next < n)
			apply_block(&w, first, count, true, w.a + (size_t)first * n + next, n, n - next);
	}
	memcpy(r, w.a, (size_t)k * n * sizeof(*r));
	if (q && k)
		form_q(&w, q);
	free(w.a);
	free(w.v);
	free(w.t);
}
