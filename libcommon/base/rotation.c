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

static double at(const double *x, bool transposed, size_t n, size_t i, size_t j)
{
	return transposed ? x[j * n + i] : x[i * n + j];
}

void square_product(double *c, const double *a, bool ta, const double *b, bool tb, int size, double alpha, bool add)
{
	const size_t n = size;

	if (!add)
		memset(c, 0, n * n * sizeof(*c));
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++) {
			const double x = alpha * at(a, ta, n, i, k);

			if (tb)
				for (size_t j = 0; j < n; j++)
					c[i * n + j] += x * b[j * n + k];
			else
				for (size_t j = 0; j < n; j++)
					c[i * n + j] += x * b[k * n + j];
		}
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
			for (size_t j = 0; j < n; j++)
				m[i * n + j] -= factor * m[p * n + j];
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
	double *twice = room, *half = room + n * n;

	memcpy(twice, r, n * n * sizeof(*r));
	add_diagonal(twice, n, 1);
	square_product(half, twice, true, dr, false, n, 0.5, false);
	square_product(da, half, false, twice, true, n, 1, false);
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

/* h = sum of coefficients of powers from `first` on, times A^(power - first) */
static void horner(double *h, const struct rotations *s, const double *a, int first, double *room)
{
	const size_t n = s->size, bytes = n * n * sizeof(*h);
	int power = last_term(s->terms);

	memset(h, 0, bytes);
	add_diagonal(h, n, coefficient(s->terms, power));
	while (power-- > first) {
		memcpy(room, h, bytes);
		square_product(h, a, false, room, false, s->size, 1, false);
		add_diagonal(h, n, coefficient(s->terms, power));
	}
}

/* backward of R = sum of c_j A^j:  dA = sum over i of (A^T)^i dR H^T, where H is the series from i + 1 on */
static void series_back(const struct rotations *s, double *da, double *dr, const double *a, double *room)
{
	const size_t n = s->size, bytes = n * n * sizeof(*da);
	double *h = room, *other = room + n * n;

	memset(da, 0, bytes);
	for (int i = 0; i < last_term(s->terms); i++) {
		horner(h, s, a, i + 1, other);
		square_product(da, dr, false, h, true, s->size, 1, true);
		memcpy(other, dr, bytes);
		square_product(dr, a, true, other, false, s->size, 1, false);
	}
}

/* ---- both ---- */

void rotation_matrix(const struct rotations *s, double *r, const double *a, double *room)
{
	if (s->terms)
		horner(r, s, a, 0, room);
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
