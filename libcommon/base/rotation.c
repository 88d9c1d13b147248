/*
 * rotation.c - the Cayley transform by elimination without pivoting: with A skew-symmetric,
 * no pivot of I - A is below 1.
 */
#include <math.h>
#include <string.h>
#include "rotation.h"

size_t rotation_numbers(const struct rotations *s)
{
	return s->triangle ? (size_t)s->size * (s->size - 1) / 2 : (size_t)s->size * s->size;
}

size_t rotation_elements(const struct rotations *s)
{
	return (size_t)s->blocks * s->size * s->size;
}

/* Above the diagonal, before the limit; below it is the negative. */
static double element(const struct rotations *s, const float *b, int i, int j)
{
	const size_t n = s->size, before = (size_t)i * (2 * n - i - 1) / 2;      /* numbers of the rows above */
	const double x = s->triangle ? b[before + j - i - 1] : (double)b[i * n + j] - b[j * n + i];

	return s->inverse ? -x : x;
}

struct rotation_limit rotation_limit(const struct rotations *s, const float *b)
{
	double squares = 0, norm;

	if (s->limit < 0)
		return (struct rotation_limit){ 0, 1 };
	for (int k = 0; k < s->blocks; k++, b += rotation_numbers(s))
		for (int i = 0; i < s->size; i++)
			for (int j = i + 1; j < s->size; j++)
				squares += 2 * element(s, b, i, j) * element(s, b, i, j);
	norm = sqrt(squares);
	return (struct rotation_limit){ norm, norm > s->limit ? s->limit / norm : 1 };
}

void rotation_skew(const struct rotations *s, double *a, const float *b, double factor, int k)
{
	const size_t n = s->size;

	b += k * rotation_numbers(s);
	for (size_t i = 0; i < n; i++) {
		a[i * n + i] = 0;
		for (size_t j = i + 1; j < n; j++) {
			a[i * n + j] = factor * element(s, b, i, j);
			a[j * n + i] = -a[i * n + j];
		}
	}
}

/* Four at once: at -O2 gcc makes no vectors of a loop whose length it does not know. */
typedef double four __attribute__((vector_size(32), aligned(8), may_alias));

/* y += factor x */
static void add_row(double *y, const double *x, double factor, size_t n)
{
	size_t j = 0;

	for (; j + 4 <= n; j += 4)
		*(four *)(y + j) += factor * *(const four *)(x + j);
	for (; j < n; j++)
		y[j] += factor * x[j];
}

void square_product(double *c, const double *a, const double *b, int size, double alpha, bool add)
{
	const size_t n = size;

	if (!add)
		memset(c, 0, n * n * sizeof(*c));
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++)
			add_row(c + i * n, b + k * n, alpha * a[i * n + k], n);
}

/* ---- the rotation itself ---- */

static void add_diagonal(double *x, size_t n, double value)
{
	for (size_t i = 0; i < n; i++)
		x[i * n + i] += value;
}

static void invert(double *m, size_t n)
{
	for (size_t p = 0; p < n; p++) {
		const double pivot = 1 / m[p * n + p];

		m[p * n + p] = 1;
		for (size_t j = 0; j < n; j++)
			m[p * n + j] *= pivot;
		for (size_t i = 0; i < n; i++) {
			const double factor = m[i * n + p];

			if (i == p)
				continue;
			m[i * n + p] = 0;
			add_row(m + i * n, m + p * n, -factor, n);
		}
	}
}

/* (I + A)(I - A)^-1 = 2 (I - A)^-1 - I */
static void cayley(double *r, const double *a, size_t n)
{
	for (size_t i = 0; i < n * n; i++)
		r[i] = -a[i];
	add_diagonal(r, n, 1);
	invert(r, n);
	for (size_t i = 0; i < n * n; i++)
		r[i] *= 2;
	add_diagonal(r, n, -1);
}

/* backward of R = 2 M - I, M = (I - A)^-1:  dA = 2 M^T dR M^T, and 2 M is R + I */
static void cayley_back(double *da, const double *dr, const double *r, double *room, size_t n)
{
	double *turned = room, *half = room + n * n;

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			turned[i * n + j] = r[j * n + i] + (i == j);
	square_product(half, turned, dr, n, 0.5, false);
	square_product(da, half, turned, n, 1, false);
}

/* ---- the series ---- */

/* As PEFT has it: of 3 terms it makes 4, and of 2 it takes the second one whole. */
static int last_term(int terms)
{
	return terms == 3 ? 3 : terms - 1;
}

static double coefficient(int terms, int power)
{
	return power == 0 || (power == last_term(terms) && terms > 2) ? 1 : 2;
}

/* h = sum of coefficients of powers from `first` on, times (sign A)^(power - first) */
static void horner(double *h, const struct rotations *s, const double *a, double sign, int first, double *room)
{
	const size_t n = s->size, bytes = n * n * sizeof(*h);
	int power = last_term(s->terms);

	memset(h, 0, bytes);
	add_diagonal(h, n, coefficient(s->terms, power));
	while (power-- > first) {
		memcpy(room, h, bytes);
		square_product(h, a, room, s->size, sign, false);
		add_diagonal(h, n, coefficient(s->terms, power));
	}
}

/* backward of R = sum of c_j A^j:  dA = sum over i of (A^T)^i dR H^T, H being the series from i + 1 on.  A^T is -A. */
static void series_back(const struct rotations *s, double *da, double *dr, const double *a, double *room)
{
	const size_t n = s->size, bytes = n * n * sizeof(*da);
	double *h = room, *other = room + n * n;

	memset(da, 0, bytes);
	for (int i = 0; i < last_term(s->terms); i++) {
		horner(h, s, a, -1, i + 1, other);
		square_product(da, dr, h, s->size, 1, true);
		memcpy(other, dr, bytes);
		square_product(dr, a, other, s->size, -1, false);
	}
}

/* ---- both ---- */

void rotation_matrix(const struct rotations *s, double *r, const double *a, double *room)
{
	if (s->terms)
		horner(r, s, a, 1, 0, room);
	else
		cayley(r, a, s->size);
}

void rotation_matrix_back(const struct rotations *s, double *da, double *dr, const double *a, const double *r,
			  double *room)
{
	if (s->terms)
		series_back(s, da, dr, a, room);
	else
		cayley_back(da, dr, r, room, s->size);
}
