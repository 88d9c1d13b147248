/*
 * product_body.h - the inner loop of product.c for one instruction set.
 *
 * Included by product_*.c with LANES, all(), mul_add() and PRODUCT_LOOP defined; no other file includes it.
 */
#include "product_loop.h"

typedef double vec __attribute__((vector_size(8 * LANES)));
typedef double unaligned_vec __attribute__((vector_size(8 * LANES), aligned(8), may_alias));

enum { COLUMNS = 2 * LANES };

/* The first `columns` of a row of the tile */
static inline void add_row(double *c, double scale, vec s0, vec s1, size_t columns)
{
	double last[COLUMNS];

	if (columns >= COLUMNS) {
		*(unaligned_vec *)c += scale * s0;
		*(unaligned_vec *)(c + LANES) += scale * s1;
		return;
	}
	*(unaligned_vec *)last = scale * s0;
	*(unaligned_vec *)(last + LANES) = scale * s1;
	for (size_t j = 0; j < columns; j++)
		c[j] += last[j];
}

/* a [depth][PRODUCT_ROWS], b [depth][COLUMNS].  The product of two floats is exact in double, so that fusing it with
 * the sum changes nothing; others must not be fused where some machines cannot. */
static inline __attribute__((always_inline)) void tile(const struct product_block *p, double *c, const double *a,
						       const double *b, size_t rows, size_t columns, const bool exact)
{
	vec s[PRODUCT_ROWS][2] = { { { 0 } } };

	for (size_t k = 0; k < p->depth; k++, a += PRODUCT_ROWS, b += COLUMNS) {
		const vec b0 = *(const vec *)b, b1 = *(const vec *)(b + LANES);

#pragma GCC unroll 6
		for (int r = 0; r < PRODUCT_ROWS; r++) {
			const vec x = all(a[r]);

			s[r][0] = exact ? mul_add(x, b0, s[r][0]) : s[r][0] + x * b0;
			s[r][1] = exact ? mul_add(x, b1, s[r][1]) : s[r][1] + x * b1;
		}
	}
#pragma GCC unroll 6
	for (size_t r = 0; r < PRODUCT_ROWS; r++)
		if (r < rows)
			add_row(c + r * p->step, p->scale, s[r][0], s[r][1], columns);
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static inline __attribute__((always_inline)) void all_tiles(const struct product_block *p, const bool exact)
{
	for (size_t j = 0; j < p->columns; j += COLUMNS)
		for (size_t i = 0; i < p->rows; i += PRODUCT_ROWS)
			tile(p, p->c + i * p->step + j, p->a + i * p->depth, p->b + j * p->depth,
			     smaller(p->rows - i, PRODUCT_ROWS), smaller(p->columns - j, COLUMNS), exact);
}

/* A panel of b stays in the first-level cache while all rows of a are multiplied by it. */
static void block(const struct product_block *p)
{
	if (p->exact)
		all_tiles(p, true);
	else
		all_tiles(p, false);
}

/* One group of `wide` lines.  Constants say where they lie, and the compiler makes a loop for each case. */
static inline __attribute__((always_inline)) void pack_lines(double *to, const size_t wide, const struct matrix *m,
							     size_t at, size_t n, size_t depth, const size_t line,
							     const size_t along, const bool floats)
{
	for (size_t d = 0; d < depth; d++, at += along, to += wide)
#pragma GCC unroll 8
		for (size_t l = 0; l < wide; l++)
			to[l] = l >= n ? 0 : floats ? m->floats[at + l * line] : m->doubles[at + l * line];
}

static inline __attribute__((always_inline)) void pack_group(double *to, const size_t wide, const struct matrix *m,
							     size_t i, size_t n, size_t k, size_t depth)
{
	const size_t line = m->row, along = m->column, at = i * line + k * along;

	if (n < wide && m->floats)
		pack_lines(to, wide, m, at, n, depth, line, along, true);
	else if (m->floats && line == 1)
		pack_lines(to, wide, m, at, wide, depth, 1, along, true);
	else if (m->floats)
		pack_lines(to, wide, m, at, wide, depth, line, along, true);
	else
		pack_lines(to, wide, m, at, n, depth, line, along, false);
}

static void pack(double *to, bool left, const struct matrix *m, size_t i, size_t n, size_t k, size_t depth)
{
	const size_t wide = left ? PRODUCT_ROWS : COLUMNS;

	for (size_t l = 0; l < n; l += wide)
		if (left)
			pack_group(to + l * depth, PRODUCT_ROWS, m, i + l, smaller(n - l, wide), k, depth);
		else
			pack_group(to + l * depth, COLUMNS, m, i + l, smaller(n - l, wide), k, depth);
}

const struct product_loop PRODUCT_LOOP = { COLUMNS, block, pack };
