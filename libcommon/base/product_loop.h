/*
 * product_loop.h - what product.c hands to its inner loop.
 *
 * Private to product*.c.
 */
#ifndef BASE_PRODUCT_LOOP_H
#define BASE_PRODUCT_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include "product.h"

enum { PRODUCT_ROWS = 6 };              /* of a tile, whose sums stay in registers */

/* c [rows][columns], rows `step` apart, += scale a b.  a: groups of PRODUCT_ROWS rows, each [depth][PRODUCT_ROWS]; b:
 * panels, each [depth][columns of the loop], at a boundary of 64 bytes.  Both are filled up with zeros. */
struct product_block {
	double *c;
	size_t step;
	double scale;
	const double *a, *b;
	size_t rows, columns, depth;
	bool exact;                     /* a and b hold floats */
};

struct product_loop {
	size_t columns;
	void (*block)(const struct product_block *p);
	/* Lines i..i+n of m, elements k.., into groups of rows or, not left, into panels, where a line is a column */
	void (*pack)(double *to, bool left, const struct matrix *m, size_t i, size_t n, size_t k, size_t depth);
};

/* product_add() with one of them */
void product_add_by(const struct product_loop *loop, double *c, size_t step, double scale, const struct matrix *a,
		    const struct matrix *b, size_t rows, size_t columns, size_t depth);

extern const struct product_loop product_loop_avx512, product_loop_avx2, product_loop_portable;

#endif
