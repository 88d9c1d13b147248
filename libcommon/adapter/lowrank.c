/* The best approximation of a matrix by one of a lower rank. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/linalg.h"
#include "../base/memory.h"
#include "../base/philox.h"
#include "../base/product.h"
#include "../base/thread.h"
#include "../data/ring.h"
#include "lowrank.h"

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static double *zeros(size_t rows, size_t columns)
{
	return xcalloc(rows * columns, sizeof(double));
}

static double sum_squares(const double *x, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += x[i] * x[i];
	return sum;
}

static void make_room(struct lowrank *l, size_t rows, size_t columns, size_t known)
{
	*l = (struct lowrank){ rows, columns, known, zeros(rows, known), zeros(known, 1), zeros(known, columns), 0 };
}

void lowrank_of_product(struct lowrank *l, const float *up, const float *down, size_t rows, size_t columns,
			size_t rank)
{
	double *left = to_doubles(up, rows * rank), *right = to_doubles(down, rank * columns);

	make_room(l, rows, columns, smaller(rank, smaller(rows, columns)));
	svd_product(l->left, l->value, l->right, left, right, (int)rows, (int)columns, (int)rank);
	l->squares = sum_squares(l->value, l->known);
	free(left);
	free(right);
}

/* ---- a matrix of any rank ---- */

enum { SLICE = 192 };                   /* rows of a thread's task */

struct product { double *c; const struct matrix *a, *b; size_t rows, columns, depth; };

static void multiply_slice(void *context, size_t item, void *slot)
{
	const struct product *p = context;
	const size_t first = item * SLICE;
	const struct matrix a = matrix_from(p->a, first, 0);

	(void)slot;
	product_add(p->c + first * p->columns, p->columns, 1, &a, p->b, smaller(SLICE, p->rows - first), p->columns,
		    p->depth);
}

static int take_nothing(void *context, size_t item, void *slot)
{
	(void)context;
	(void)item;
	(void)slot;
	return 0;
}

/* a b on all threads, malloced */
static double *multiply(const struct matrix *a, const struct matrix *b, size_t rows, size_t columns, size_t depth)
{
	struct product p = { zeros(rows, columns), a, b, rows, columns, depth };
	const struct ring_job slices = { .count = (rows + SLICE - 1) / SLICE, .threads = threads_default(), .slot = 1,
					 .context = &p, .work = multiply_slice, .take = take_nothing };

	if (ring_run(&slices))
		die(EXIT_OTHER, "bug: a product was stopped");
	return p.c;
}

static struct matrix floats_by_rows(const float *x, size_t columns)
{
	return (struct matrix){ .floats = x, .row = columns, .column = 1 };
}

static struct matrix doubles_by_rows(const double *x, size_t columns)
{
	return (struct matrix){ .doubles = x, .row = columns, .column = 1 };
}

/* x [rows][n]: its columns become orthonormal and span the same. */
static void straighten(double *x, size_t rows, size_t n)
{
	double *r = zeros(n, n);

	qr_thin(x, r, x, (int)rows, (int)n);
	free(r);
}

/* A times random columns: [rows][n] */
static double *sketch(const struct matrix *a, size_t rows, size_t columns, size_t n)
{
	const struct random draw = { .purpose = RANDOM_SKETCH };
	float *g = xmalloc(columns * n * sizeof(*g));
	const struct matrix b = floats_by_rows(g, n);
	double *y;

	random_normal(&draw, g, columns * n);
	y = multiply(a, &b, rows, n, columns);
	free(g);
	return y;
}

/* A is close to q w^T, with q [rows][n] of orthonormal columns and w [columns][n]. */
static void take_values(struct lowrank *l, const double *q, const double *w, size_t n)
{
	double *u = zeros(l->columns, n), *vt = zeros(n, n);

	svd_small(u, l->value, vt, w, (int)l->columns, (int)n);
	matrix_product_tb(l->left, q, vt, (int)l->rows, (int)n, (int)n);
	matrix_transpose(l->right, u, (int)l->columns, (int)n);
	free(u);
	free(vt);
}

static double squares_of_floats(const float *a, size_t rows, size_t columns)
{
	double sum = 0;

	for (size_t i = 0; i < rows; i++) {
		double row = 0;

		for (size_t j = 0; j < columns; j++)
			row += (double)a[i * columns + j] * a[i * columns + j];
		sum += row;
	}
	return sum;
}

/* GAIN: of the error's square; a turn that gains less is the last.  An error is within 1.01 of the best one where its
 * square is within 1.02, and turns gain less and less; only the first gain little where values differ little.
 * NOTHING: of A's squares; an error below it is rounding.  MORE: columns beyond the rank, at least so many, and their
 * number a multiple of it. */
#define GAIN 0.005
#define NOTHING 1e-15
enum { MORE = 8, LEAST_TURNS = 2, MOST_TURNS = 24 };

void lowrank_of_matrix(struct lowrank *l, const float *a, size_t rows, size_t columns, size_t rank)
{
	const size_t side = smaller(rows, columns), n = smaller((rank + 2 * MORE - 1) / MORE * MORE, side);
	const struct matrix whole = floats_by_rows(a, columns), turned = matrix_turned(&whole);
	const double squares = squares_of_floats(a, rows, columns);
	double *q = sketch(&whole, rows, columns, n), *w = NULL, before = 0, now = 0;

	for (int turn = 0;; turn++, before = now) {
		const struct matrix left = doubles_by_rows(q, n);
		struct matrix right;

		straighten(q, rows, n);
		w = multiply(&turned, &left, columns, n, rows);
		now = sum_squares(w, columns * n);
		if (n == side || turn == MOST_TURNS || squares - now <= NOTHING * squares ||
		    (turn >= LEAST_TURNS && now - before <= GAIN * (squares - now)))
			break;
		straighten(w, columns, n);
		right = doubles_by_rows(w, n);
		free(q);
		q = multiply(&whole, &right, rows, n, columns);
		free(w);
	}
	make_room(l, rows, columns, n);
	l->squares = squares;
	take_values(l, q, w, n);
	free(q);
	free(w);
}

void lowrank_free(struct lowrank *l)
{
	free(l->left);
	free(l->value);
	free(l->right);
	*l = (struct lowrank){ 0 };
}

/* ---- factors, and what they lose ---- */

void lowrank_factors(const struct lowrank *l, size_t rank, float *up, float *down)
{
	const size_t there = smaller(rank, l->known);

	memset(up, 0, l->rows * rank * sizeof(*up));
	memset(down, 0, rank * l->columns * sizeof(*down));
	for (size_t k = 0; k < there; k++) {
		const double root = sqrt(l->value[k]);

		for (size_t i = 0; i < l->rows; i++)
			up[i * rank + k] = (float)(root * l->left[i * l->known + k]);
		for (size_t j = 0; j < l->columns; j++)
			down[k * l->columns + j] = (float)(root * l->right[k * l->columns + j]);
	}
}

/* What is left of a matrix behind the factors, by slices of rows. */
struct remainder { const float *a; size_t rows, columns; const struct factors *f; double squares; };

enum { STRIP = 48 };

static void remainder_of_strip(void *context, size_t item, void *slot)
{
	const struct remainder *r = context;
	const size_t first = item * STRIP, rows = smaller(STRIP, r->rows - first), n = rows * r->columns;
	const struct matrix up = floats_by_rows(r->f->up + first * r->f->rank, r->f->rank),
			    down = floats_by_rows(r->f->down, r->columns);
	double *left = to_doubles(r->a + first * r->columns, n);

	product_add(left, r->columns, -1, &up, &down, rows, r->columns, r->f->rank);
	*(double *)slot = sum_squares(left, n);
	free(left);
}

static int add_strip(void *context, size_t item, void *slot)
{
	(void)item;
	((struct remainder *)context)->squares += *(double *)slot;
	return 0;
}

double lowrank_lost_of_matrix(const float *a, size_t rows, size_t columns, const struct factors *f)
{
	struct remainder r = { a, rows, columns, f, 0 };
	const struct ring_job strips = { .count = (rows + STRIP - 1) / STRIP, .threads = threads_default(),
					 .slot = sizeof(double), .context = &r, .work = remainder_of_strip,
					 .take = add_strip };

	if (ring_run(&strips))
		die(EXIT_OTHER, "bug: a product was stopped");
	return sqrt(r.squares);
}

/* As one product: [was up, up] times was down over minus down. */
double lowrank_lost_of_product(const struct factors *was, size_t rows, size_t columns, const struct factors *f)
{
	const size_t n = was->rank + f->rank;
	double *up = zeros(rows, n), *down = zeros(n, columns), lost;
	const struct matrix a = doubles_by_rows(up, n), b = doubles_by_rows(down, columns);

	for (size_t i = 0; i < rows; i++) {
		for (size_t k = 0; k < was->rank; k++)
			up[i * n + k] = was->up[i * was->rank + k];
		for (size_t k = 0; k < f->rank; k++)
			up[i * n + was->rank + k] = f->up[i * f->rank + k];
	}
	for (size_t i = 0; i < was->rank * columns; i++)
		down[i] = was->down[i];
	for (size_t i = 0; i < f->rank * columns; i++)
		down[was->rank * columns + i] = -(double)f->down[i];
	lost = product_norm(&a, &b, rows, columns, n);
	free(up);
	free(down);
	return lost;
}
