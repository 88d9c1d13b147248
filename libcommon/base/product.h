/*
 * product.h - products of matrices in double, for numbers that go to files.
 *
 * Owns packing and the inner loop, one for each instruction set.  An element's sum has one order, that of k in spans of
 * PRODUCT_DEPTH, and the products in it are rounded once or, of floats, not at all: the same bits on every machine.  A
 * backend's products promise neither.
 */
#ifndef BASE_PRODUCT_H
#define BASE_PRODUCT_H

#include <stddef.h>

enum { PRODUCT_DEPTH = 256 };

/* Element (i,k) is number i * row + k * column of one of the two; the other is NULL. */
struct matrix { const float *floats; const double *doubles; size_t row, column; };

static inline double matrix_at(const struct matrix *m, size_t i, size_t k)
{
	return m->floats ? m->floats[i * m->row + k * m->column] : m->doubles[i * m->row + k * m->column];
}

static inline struct matrix matrix_from(const struct matrix *m, size_t i, size_t k)
{
	const size_t at = i * m->row + k * m->column;

	return (struct matrix){ m->floats ? m->floats + at : NULL, m->doubles ? m->doubles + at : NULL, m->row,
				m->column };
}

static inline struct matrix matrix_turned(const struct matrix *m)
{
	return (struct matrix){ m->floats, m->doubles, m->column, m->row };
}

/* c [rows][columns], whose rows begin `step` apart, += scale a b, with a [rows][depth] and b [depth][columns] */
void product_add(double *c, size_t step, double scale, const struct matrix *a, const struct matrix *b, size_t rows,
		 size_t columns, size_t depth);
/* |a b|, Frobenius', with a [rows][depth] and b [depth][columns], of two matrices [depth][depth] in place of a large
 * one: the root of the trace of (a^T a)(b b^T).  Where the columns of a times the rows of b cancel, it is that of their
 * triangles, by QR, and 0 where rounding is all that is left of them. */
double product_norm(const struct matrix *a, const struct matrix *b, size_t rows, size_t columns, size_t depth);

#endif
