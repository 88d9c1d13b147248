/*
 * nearest_loops.h - what nearest.c hands to its loops.
 *
 * Private to nearest*.c.
 */
#ifndef IO_NEAREST_LOOPS_H
#define IO_NEAREST_LOOPS_H

#include "nearest.h"

enum { NEAREST_CHUNK = 256 };

struct nearest_chunk {
	float before[NEAREST_CHUNK], sum[NEAREST_CHUNK], after[NEAREST_CHUNK];
	double exact[NEAREST_CHUNK];
};

/* n: a multiple of four, filled up with zeros. */
typedef void nearest_adder(struct nearest_chunk *c, const double *more, size_t n);
struct nearest_loops {
	/* exact = before + more; sum: that as the nearest float, or as one from which a narrower type rounds as from
	 * exact, in the last case one whose range is a float's */
	nearest_adder *add, *add_odd, *add_odd_subnormal;
	void (*measure)(const struct nearest_chunk *c, const double *more, size_t n, struct nearest_sums *s);
};

extern const struct nearest_loops nearest_avx2, nearest_portable;

/* nearest_add() with one of them */
void nearest_add_by(const struct nearest_loops *loops, void *out, const void *in, enum dtype dtype, const double *add,
		    size_t n, struct nearest_sums *s);

#endif
