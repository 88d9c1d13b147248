/*
 * linalg_loops.h - the inner loops of linalg.c, for any machine and with AVX2: both do the same roundings in the same
 * order, hence give the same bytes.  Private to linalg.c, product.c and their test.
 */
#ifndef BASE_LINALG_LOOPS_H
#define BASE_LINALG_LOOPS_H

#include <stdbool.h>
#include <stddef.h>

/* Columns of a panel; partial sums of a dot product: sum i takes the elements i, i + 8, ... */
enum { PANEL = 8, SUMS = 8 };

/* Rows of c, up to PANEL columns of them: c[i,j] = c[i,j] (fresh: 0) + a[i,0] panel[0,j] + a[i,1] panel[1,j] + ...,
 * one sum after the other.  a[i,k] is at a[i * row + k * col]. */
struct strip {
	int rows, columns, depth;
	const double *a;
	size_t row, col;
	const double *panel;            /* [depth][PANEL] */
	double *c;
	size_t ldc;
	bool fresh;
};

struct linalg_loops {
	void (*strip)(const struct strip *s);
	double (*dot)(const double *x, const double *y, size_t n);
	void (*add_scaled)(double *y, double a, const double *x, size_t n);             /* y += a x */
	/* x, y = c x - s y, s x + c y */
	void (*rotate)(double *x, double *y, double c, double s, size_t n);
};

extern const struct linalg_loops linalg_portable;
#ifdef __x86_64__
extern const struct linalg_loops linalg_avx2;
#endif
const struct linalg_loops *linalg_loops(void);          /* for this processor */

/* c [m,n] = a b, or c += a b.  a[i,k] is at a[i * row + k * col], and so is b[k,j] at b[k * row + j * col]. */
struct matrix_view { const double *at; size_t row, col; };
struct matrix_job {
	int m, n, k;
	struct matrix_view a, b;
	double *c;
	size_t ldc;
	bool add;
};
void matrix_multiply(const struct linalg_loops *loops, const struct matrix_job *p);

#endif
