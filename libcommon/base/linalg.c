/*
 * linalg.c - QR by Householder's reflections, a block of them at a time; singular values by Jacobi's rotations from one
 * side (Golub and Van Loan, Matrix Computations, 5.1 and 5.2; Schreiber and Van Loan 1989 for the blocks; Drmac and
 * Veselic 2008 for rotating what a QR left).
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "linalg.h"
#include "linalg_loops.h"
#include "memory.h"

static double *doubles(size_t rows, size_t columns)
{
	return xcalloc(rows * columns + 1, sizeof(double));
}

static int smaller(int a, int b) { return a < b ? a : b; }

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
	const struct matrix_job down = { .m = count, .n = n, .k = q->m - first, .a = { v, q->m, 1 },
					 .b = { c, ldc, 1 }, .c = inner, .ldc = n };
	const struct matrix_job up = { .m = q->m - first, .n = n, .k = count, .a = { v, 1, q->m },
				       .b = { outer, n, 1 }, .c = c, .ldc = ldc, .add = true };

	matrix_multiply(q->loops, &down);
	for (int i = 0; i < count; i++)
		for (int l = 0; l < count; l++)
			q->loops->add_scaled(outer + (size_t)i * n, -(transposed ? t[l * BLOCK + i] : t[i * BLOCK + l]),
					     inner + (size_t)l * n, n);
	matrix_multiply(q->loops, &up);
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

/* ---- singular values ---- */

/* Turns in which every pair of rows is looked at; a dozen do, and what is left after 60 is rounding. */
enum { MOST_TURNS = 60 };

struct jacobi {
	const struct linalg_loops *loops;
	int n;
	double *x, *j;                  /* [n,n]: j times what x was is x, whose rows become orthogonal */
	double *squares;                /* of x's rows */
	double tolerance;               /* of a pair's cosine */
};

static void swap_rows(struct jacobi *w, int p, int q)
{
	double *row[2] = { w->x, w->j }, squares = w->squares[p];

	for (int k = 0; k < 2; k++)
		for (int i = 0; i < w->n; i++) {
			double *one = row[k] + (size_t)p * w->n + i, *other = row[k] + (size_t)q * w->n + i, x = *one;

			*one = *other;
			*other = x;
		}
	w->squares[p] = w->squares[q];
	w->squares[q] = squares;
}

/* Rows p < q become orthogonal, the longer one first.  false: they were. */
static bool rotate_pair(struct jacobi *w, int p, int q)
{
	double *x = w->x + (size_t)p * w->n, *y = w->x + (size_t)q * w->n;
	const double d = w->loops->dot(x, y, w->n);
	double zeta, t, c;
	const bool swap = w->squares[p] < w->squares[q];

	if (swap)
		swap_rows(w, p, q);
	if (fabs(d) <= w->tolerance * sqrt(w->squares[p]) * sqrt(w->squares[q]))
		return swap;
	zeta = (w->squares[q] - w->squares[p]) / (2 * d);
	t = copysign(1, zeta) / (fabs(zeta) + sqrt(1 + zeta * zeta));
	c = 1 / sqrt(1 + t * t);
	w->loops->rotate(x, y, c, c * t, w->n);
	w->loops->rotate(w->j + (size_t)p * w->n, w->j + (size_t)q * w->n, c, c * t, w->n);
	w->squares[p] = w->loops->dot(x, x, w->n);
	w->squares[q] = w->loops->dot(y, y, w->n);
	return true;
}

/* x [n,n] becomes diag(s) vt, and j what it was multiplied with from the left; rows are in falling order. */
static void jacobi(double *x, double *j, int n)
{
	struct jacobi w = { .loops = linalg_loops(), .n = n, .x = x, .j = j, .squares = doubles(n, 1),
			    .tolerance = sqrt(n) * DBL_EPSILON };
	bool moved = true;

	for (int i = 0; i < n; i++) {
		j[(size_t)i * n + i] = 1;
		w.squares[i] = w.loops->dot(x + (size_t)i * n, x + (size_t)i * n, n);
	}
	for (int turn = 0; moved && turn < MOST_TURNS; turn++) {
		moved = false;
		for (int p = 0; p < n; p++)
			for (int q = p + 1; q < n; q++)
				moved |= rotate_pair(&w, p, q);
	}
	free(w.squares);
}

/* m >= n.  a = q r, and the rotations j make j r = diag(s) vt: a = (q j^T) diag(s) vt. */
static void svd_tall(double *u, double *s, double *vt, const double *a, int m, int n)
{
	double *q = doubles(m, n), *j = doubles(n, n);

	qr_thin(q, vt, a, m, n);
	jacobi(vt, j, n);
	for (int i = 0; i < n; i++) {
		double *row = vt + (size_t)i * n;

		s[i] = sqrt(linalg_loops()->dot(row, row, n));
		for (int k = 0; k < n && s[i] > 0; k++)
			row[k] /= s[i];
	}
	matrix_product_tb(u, q, j, m, n, n);
	free(q);
	free(j);
}

void svd_small(double *u, double *s, double *vt, const double *a, int m, int n)
{
	double *turned, *left, *right;

	if (m >= n) {
		svd_tall(u, s, vt, a, m, n);
		return;
	}
	turned = doubles(n, m);
	left = doubles(n, m);
	right = doubles(m, m);
	matrix_transpose(turned, a, m, n);
	svd_tall(left, s, right, turned, n, m);
	matrix_transpose(u, right, m, m);
	matrix_transpose(vt, left, n, m);
	free(turned);
	free(left);
	free(right);
}

void svd_product(double *u, double *s, double *vt, const double *up, const double *down, int m, int n, int r)
{
	const int rows = smaller(m, r), columns = smaller(n, r), k = smaller(rows, columns);
	double *turned = doubles(n, r), *left = doubles(rows, r), *right = doubles(columns, r);
	double *q1 = doubles(u ? m : 0, rows), *q2 = doubles(u ? n : 0, columns);
	double *core = doubles(rows, columns), *cu = doubles(rows, k), *cv = doubles(k, columns);

	matrix_transpose(turned, down, r, n);
	qr_thin(u ? q1 : NULL, left, up, m, r);
	qr_thin(u ? q2 : NULL, right, turned, n, r);
	matrix_product_tb(core, left, right, rows, columns, r);
	svd_small(cu, s, cv, core, rows, columns);
	if (u) {
		matrix_product(u, q1, cu, m, k, rows);
		matrix_product_tb(vt, cv, q2, k, n, columns);
	}
	free(turned);
	free(left);
	free(right);
	free(q1);
	free(q2);
	free(core);
	free(cu);
	free(cv);
}
