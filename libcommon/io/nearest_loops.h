/*
 * nearest_loops.h - what nearest.c hands to its loops.
 *
 * Private to nearest*.c.
 */
#ifndef IO_NEAREST_LOOPS_H
#define IO_NEAREST_LOOPS_H

#include "nearest.h"

enum { NEAREST_CHUNK = 256 };

/* The elements of a chunk, filled up with zeros to a multiple of four. */
struct nearest_chunk {
	float before[NEAREST_CHUNK], sum[NEAREST_CHUNK], after[NEAREST_CHUNK];
	double add[NEAREST_CHUNK], exact[NEAREST_CHUNK];
};

struct nearest_loops {
	/* exact = before + add; sum: that as a float, the nearest one or, with odd, one from which every narrower type
	 * rounds as from exact */
	void (*add)(struct nearest_chunk *c, size_t n, bool odd);
	void (*measure)(const struct nearest_chunk *c, size_t n, struct nearest_sums *s);
};

/* nearest_add() with one of them */
void nearest_add_by(const struct nearest_loops *loops, void *out, const void *in, enum dtype dtype, const double *add,
		    size_t n, struct nearest_sums *s);

extern const struct nearest_loops nearest_avx2, nearest_portable;

#endif
