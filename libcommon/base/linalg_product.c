/* Matrix products in double: the right matrix is packed into panels, by which rows of the left one are multiplied. */
#include <stdlib.h>
#include "cpu.h"
#include "linalg.h"
#include "linalg_loops.h"
#include "memory.h"

#define LANES 2
#define LOOPS linalg_portable
#include "linalg_body.h"

/* DEPTH: a panel of that many rows (8 KB) stays in the first-level cache; PASS: rows of the left matrix that stay in
 * the second-level one (64 KB); COLUMNS: of the right matrix, packed at once. */
enum { DEPTH = 128, PASS = 64, COLUMNS = 512 };

const struct linalg_loops *linalg_loops(void)
{
#ifdef __x86_64__
	if (cpu_has_avx2())
		return &linalg_avx2;
#endif
	return &linalg_portable;
}

static int smaller(int a, int b) { return a < b ? a : b; }

/* Columns j..j+n of rows k..k+depth; what is beyond the last column is zero. */
static void pack(double *panel, const struct matrix_view *b, int k, int depth, int j, int n)
{
	for (int at = 0; at < n; at += PANEL)
		for (int i = 0; i < depth; i++, panel += PANEL) {
			const double *from = b->at + (k + i) * b->row + (j + at) * b->col;
			const int count = smaller(PANEL, n - at);

			for (int c = 0; c < count; c++)
				panel[c] = from[c * b->col];
			for (int c = count; c < PANEL; c++)
				panel[c] = 0;
		}
}

static void multiply_packed(const struct linalg_loops *loops, const struct matrix_job *p, const double *panels, int k,
			    int depth, int j, int n)
{
	for (int i = 0; i < p->m; i += PASS)
		for (int at = 0; at < n; at += PANEL) {
			const struct strip s = {
				.rows = smaller(PASS, p->m - i), .columns = smaller(PANEL, n - at), .depth = depth,
				.a = p->a.at + i * p->a.row + k * p->a.col, .row = p->a.row, .col = p->a.col,
				.panel = panels + (size_t)at * depth,
				.c = p->c + i * p->ldc + j + at, .ldc = p->ldc, .fresh = !k && !p->add,
			};

			loops->strip(&s);
		}
}

void matrix_multiply(const struct linalg_loops *loops, const struct matrix_job *p)
{
	const int most = smaller(p->n, COLUMNS);
	double *panels = xmalloc((size_t)(most + PANEL) * smaller(p->k, DEPTH) * sizeof(*panels) + 1);

	for (int i = 0; i < p->m && !p->k && !p->add; i++)
		for (int j = 0; j < p->n; j++)
			p->c[i * p->ldc + j] = 0;
	for (int j = 0; j < p->n; j += COLUMNS)
		for (int k = 0; k < p->k; k += DEPTH) {
			const int n = smaller(COLUMNS, p->n - j), depth = smaller(DEPTH, p->k - k);

			pack(panels, &p->b, k, depth, j, n);
			multiply_packed(loops, p, panels, k, depth, j, n);
		}
	free(panels);
}

static void multiply(double *c, struct matrix_view a, struct matrix_view b, int m, int n, int k)
{
	const struct matrix_job p = { .m = m, .n = n, .k = k, .a = a, .b = b, .c = c, .ldc = n };

	matrix_multiply(linalg_loops(), &p);
}

void matrix_product(double *c, const double *a, const double *b, int m, int n, int k)
{
	multiply(c, (struct matrix_view){ a, k, 1 }, (struct matrix_view){ b, n, 1 }, m, n, k);
}

void matrix_product_ta(double *c, const double *a, const double *b, int m, int n, int k)
{
	multiply(c, (struct matrix_view){ a, 1, m }, (struct matrix_view){ b, n, 1 }, m, n, k);
}

void matrix_product_tb(double *c, const double *a, const double *b, int m, int n, int k)
{
	multiply(c, (struct matrix_view){ a, k, 1 }, (struct matrix_view){ b, 1, k }, m, n, k);
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
