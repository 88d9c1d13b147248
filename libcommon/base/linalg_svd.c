/*
 * linalg_svd.c - singular values by Jacobi's rotations from one side (Golub and Van Loan, Matrix Computations, 8.6.3),
 * of the triangle that a QR leaves, which takes fewer turns (Drmac and Veselic 2008).
 */
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include "linalg.h"
#include "linalg_loops.h"
#include "memory.h"

static double *doubles(size_t rows, size_t columns)
{
	return xcalloc(rows * columns + 1, sizeof(double));
}

static int smaller(int a, int b) { return a < b ? a : b; }

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
