/*
 * ranks.h - how many singular values of a module are kept: a number, a share, or kohya's three dynamic methods.
 *
 * One row a rule.  Must not know where the values come from.
 */
#ifndef MERGE_RANKS_H
#define MERGE_RANKS_H

#include <stdbool.h>
#include <stddef.h>

/* Singular values of a matrix.  Of those behind value[known] only the sums are known. */
struct spectrum {
	const double *value;            /* descending */
	size_t known;
	size_t side;                    /* how many there are: the matrix' smaller side */
	double squares;                 /* over all */
	double sum;                     /* over all; below 0: not known */
};

struct rank_rule {
	const char *name;
	double least, most;             /* of its parameter; most 0: no limit */
	double nothing;                 /* a matrix whose largest value is no larger is kept at rank 1 */
	bool needs_sum;
	/* Not yet cut to --rank and to the matrix' side. */
	size_t (*rank)(const struct spectrum *s, double parameter);
};

/* "keep", "sv_ratio", "sv_fro" or "sv_cumulative" */
const struct rank_rule *rank_rule(const char *name);

/* rule NULL: `most` itself.  most 0: no limit. */
size_t rank_kept(const struct rank_rule *rule, double parameter, size_t most, const struct spectrum *s);

#endif
