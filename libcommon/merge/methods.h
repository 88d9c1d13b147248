/*
 * methods.h - ways to add updates that leave a part of them out: TIES (arXiv 2306.01708), DARE (arXiv 2311.03099),
 * both, and pruning by magnitude, as PEFT's utils/merge_utils.py defines them.
 *
 * Rules as data: a row each.  They are of whole updates, never of factors.  Must not know adapters.
 */
#ifndef MERGE_METHODS_H
#define MERGE_METHODS_H

#include <stdbool.h>
#include <stddef.h>
#include "../base/philox.h"

struct merge_method {
	const char *name;               /* "dare_ties" */
	/* which elements of an update stay: those that are drawn, divided by the density; else the greatest */
	bool drawn;
	/* of each element the sign with the greater sum decides, and those that have it are averaged; else all are
	 * added */
	bool elects;
};

const struct merge_method *merge_method(const char *name);      /* NULL: there is none */

/* x [n] with what is left out as 0.  The greatest are int(density n), of equal ones the first.  draw: which update it
 * is, of the methods that draw; a density of 1 changes nothing. */
void method_thin(const struct merge_method *m, float *x, size_t n, double density, const struct random *draw);
/* out [n] of count updates that were thinned; updates are read with weight as PEFT does, after the signs' election */
void method_add(const struct merge_method *m, float *out, const float *const *x, const double *weight, size_t count,
		size_t n);

#endif
