/* Singular values: QR, Householder's reflections to two diagonals, then the QL algorithm. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "elementary.h"
#include "linalg.h"
#include "memory.h"
#include "singular.h"
#include "vectors.h"

/* ---- reflections ---- */

/* Makes x the vector of the reflection I - by x x^T that leaves of it the first element alone, which is *first. */
static double reflection(double *x, size_t n, double *first)
{
	const double length = sqrt(vectors_dot(x, x, n));
	double squares;

	*first = x[0] > 0 ? -length : length;
	x[0] -= *first;
	squares = vectors_dot(x, x, n);
	return squares > 0 ? 2 / squares : 0;
}

/* a [n][n] to the two diagonals of an upper bidiagonal matrix with the same singular values: both[0], both[2], ... the
 * main one, both[1], both[3], ... the one above. */
static void two_diagonals(double *both, double *a, size_t n)
{
	double *v = xmalloc(n * sizeof(*v)), *w = xmalloc(n * sizeof(*w));

	for (size_t k = 0; k < n; k++) {
		const size_t left = n - k;
		double by;

		for (size_t i = 0; i < left; i++)
			v[i] = a[(k + i) * n + k];
		by = reflection(v, left, &both[2 * k]);
		memset(w, 0, left * sizeof(*w));
		for (size_t i = 0; i < left; i++)
			vectors_add(w, v[i], a + (k + i) * n + k, left);
		for (size_t i = 0; i < left; i++)
			vectors_add(a + (k + i) * n + k, -by * v[i], w, left);
		if (left < 2)
			break;
		memcpy(v, a + k * n + k + 1, (left - 1) * sizeof(*v));
		by = reflection(v, left - 1, &both[2 * k + 1]);
		for (size_t i = 1; i < left; i++) {
			double *row = a + (k + i) * n + k + 1;

			vectors_add(row, -by * vectors_dot(row, v, left - 1), v, left - 1);
		}
	}
	free(v);
	free(w);
}

/* ---- the eigenvalues of a symmetric tridiagonal matrix ---- */

enum { TURNS = 200 };                   /* for a value; two or three are usual */

/* One turn of the implicit QL algorithm on rows first..last (Wilkinson, Reinsch: Handbook for Automatic Computation II,
 * 1971, "imtql1"); false: it came to a 0 and the block falls apart. */
static void turn(double *d, double *beside, size_t first, size_t last)
{
	double g = (d[first + 1] - d[first]) / (2 * beside[first]), r = sqrt(g * g + 1), s = 1, c = 1, p = 0;

	g = d[last] - d[first] + beside[first] / (g + copysign(r, g));
	for (size_t i = last; i-- > first;) {
		const double f = s * beside[i], b = c * beside[i];

		beside[i + 1] = r = sqrt(f * f + g * g);
		if (r == 0) {
			d[i + 1] -= p;
			beside[last] = 0;
			return;
		}
		s = f / r;
		c = g / r;
		g = d[i + 1] - p;
		r = (d[i] - g) * s + 2 * c * b;
		p = s * r;
		d[i + 1] = g + p;
		g = c * r - b;
	}
	d[first] -= p;
	beside[first] = g;
	beside[last] = 0;
}

/* d [n], the diagonal, becomes the eigenvalues; beside [n]: the one beside it, its last element is not used */
static void eigenvalues(double *d, double *beside, size_t n)
{
	double most = 0;

	for (size_t i = 0; i < n; i++)
		most = fmax(most, fmax(fabs(d[i]), fabs(beside[i])));
	beside[n - 1] = 0;
	for (size_t first = 0; first < n; first++)
		for (int k = 0; k < TURNS; k++) {
			size_t last = first;

			while (last + 1 < n && fabs(beside[last]) > most * 0x1p-54)
				last++;
			if (last == first)
				break;
			turn(d, beside, first, last);
		}
}

/* ---- values ---- */

static int by_size(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return x < y ? 1 : x > y ? -1 : 0;
}

/* The matrix [0 B; B^T 0], in another order of rows, is tridiagonal with zeros on its diagonal and B's two diagonals,
 * in turns, beside it; its eigenvalues are the values of B and their negatives (Golub, Kahan 1965). */
static void values_of_square(double *a, size_t n, double *value)
{
	double *zeros = xcalloc(2 * n, sizeof(*zeros)), *both = xcalloc(2 * n, sizeof(*both));

	two_diagonals(both, a, n);
	eigenvalues(zeros, both, 2 * n);
	qsort(zeros, 2 * n, sizeof(*zeros), by_size);
	for (size_t i = 0; i < n; i++)
		value[i] = fmax(zeros[i], 0);
	free(zeros);
	free(both);
}

static bool all_finite(const double *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isfinite(x[i]))
			return false;
	return true;
}

void singular_values(double *a, size_t rows, size_t columns, double *value)
{
	const size_t n = rows < columns ? rows : columns;
	double *turned = NULL, *r = NULL;

	if (!all_finite(a, rows * columns)) {
		for (size_t i = 0; i < n; i++)
			value[i] = NAN;
		return;
	}
	if (rows < columns)
		matrix_transpose(turned = xmalloc(rows * columns * sizeof(*turned)), a, (int)rows, (int)columns);
	if (rows != columns)
		qr_thin(NULL, r = xmalloc(n * n * sizeof(*r)), turned ? turned : a, (int)(rows + columns - n), (int)n);
	values_of_square(r ? r : a, n, value);
	free(turned);
	free(r);
}

double effective_rank(const double *value, size_t n)
{
	double sum = 0, entropy = 0;

	for (size_t i = 0; i < n; i++)
		sum += value[i];
	for (size_t i = 0; i < n; i++)
		if (value[i] > 0)
			entropy -= value[i] / sum * plain_log(value[i] / sum);
	return sum > 0 ? plain_exp(entropy) : sum == 0 ? 0 : NAN;
}
