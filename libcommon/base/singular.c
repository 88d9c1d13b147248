/* Singular values: Householder's reflections to a triangle and to two diagonals, then the QL algorithm. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
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

/* The triangle [n][n] of the QR decomposition of the matrix whose columns are n vectors x of m >= n elements. */
static void triangle(double *r, double *x, size_t n, size_t m)
{
	for (size_t k = 0; k < n; k++) {
		double *v = x + k * m + k;
		const double by = reflection(v, m - k, &r[k * n + k]);

		for (size_t j = 0; j < k; j++)
			r[k * n + j] = 0;
		for (size_t j = k + 1; j < n; j++) {
			double *y = x + j * m + k;

			vectors_add(y, -by * vectors_dot(v, y, m - k), v, m - k);
			r[k * n + j] = *y;
		}
	}
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

/* x: n vectors of m >= n elements, overwritten */
static void values_of_vectors(double *x, size_t n, size_t m, double *value)
{
	double *r;

	if (!all_finite(x, n * m)) {
		for (size_t i = 0; i < n; i++)
			value[i] = NAN;
		return;
	}
	if (n == m) {
		values_of_square(x, n, value);
		return;
	}
	r = xmalloc(n * n * sizeof(*r));
	triangle(r, x, n, m);
	values_of_square(r, n, value);
	free(r);
}

void singular_values(double *a, size_t rows, size_t columns, double *value)
{
	double *turned;

	if (rows <= columns) {
		values_of_vectors(a, rows, columns, value);
		return;
	}
	turned = xmalloc(rows * columns * sizeof(*turned));
	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < columns; j++)
			turned[j * rows + i] = a[i * columns + j];
	values_of_vectors(turned, columns, rows, value);
	free(turned);
}

/* ---- products ---- */

/* The triangle of a matrix [m][n] with m > n, whose columns or, turned, whose rows are vectors of floats */
static double *triangle_of(const float *x, size_t n, size_t m, bool turned)
{
	double *r = xmalloc(n * n * sizeof(*r)), *vectors = xmalloc(n * m * sizeof(*vectors));

	for (size_t k = 0; k < n; k++)
		for (size_t i = 0; i < m; i++)
			vectors[k * m + i] = turned ? x[k * m + i] : x[i * n + k];
	triangle(r, vectors, n, m);
	free(vectors);
	return r;
}

/* out [rows][columns] = a b, with b's element (k,j) at b[k * columns + j] or, turned, at b[j * depth + k] */
static void multiply(double *out, const double *a, const double *b, size_t rows, size_t columns, size_t depth,
		     bool turned)
{
	memset(out, 0, rows * columns * sizeof(*out));
	for (size_t i = 0; i < rows; i++)
		for (size_t k = 0; k < depth && !turned; k++)
			vectors_add(out + i * columns, a[i * depth + k], b + k * columns, columns);
	for (size_t i = 0; i < rows && turned; i++)
		for (size_t j = 0; j < columns; j++)
			out[i * columns + j] = vectors_dot(a + i * depth, b + j * depth, depth);
}

static double *widened(const float *x, size_t n)
{
	double *out = xmalloc(n * sizeof(*out));

	for (size_t i = 0; i < n; i++)
		out[i] = x[i];
	return out;
}

/* With left = Q R and right^T = P S it is Q (R S^T) P^T. */
void singular_values_of_product(const float *left, const float *right, size_t rows, size_t columns, size_t depth,
				double *value)
{
	const bool tall = rows > depth, wide = columns > depth;
	const size_t m = tall ? depth : rows, n = wide ? depth : columns;
	double *r = tall ? triangle_of(left, depth, rows, false) : widened(left, rows * depth);
	double *s = wide ? triangle_of(right, depth, columns, true) : widened(right, depth * columns);
	double *product = xmalloc(m * n * sizeof(*product));

	multiply(product, r, s, m, n, depth, wide);
	singular_values(product, m, n, value);
	free(product);
	free(r);
	free(s);
}

double effective_rank(const double *value, size_t n)
{
	double sum = 0, entropy = 0;

	for (size_t i = 0; i < n; i++)
		sum += value[i];
	for (size_t i = 0; i < n; i++)
		if (value[i] > 0)
			entropy -= value[i] / sum * log(value[i] / sum);
	return sum > 0 ? exp(entropy) : sum == 0 ? 0 : NAN;
}
