/*
 * ranks.h - what several ranks exchange in a step, and how well a step uses them, modelled.
 *
 * Must not know networks: slices of the vector of all parameters, leaves and ranks are enough.
 */
#ifndef TRAIN_PLAN_RANKS_H
#define TRAIN_PLAN_RANKS_H

#include "../../io/json.h"

struct ranks_plan {
	int ranks;
	long leaves, leaves_most;       /* of a step; of the rank that has most */
	size_t floats, slice;           /* trained numbers; of the largest slice */
	size_t nodes;                   /* sums of gradients that the ranks bring together */
	size_t sent;                    /* bytes that the rank which sends most sends in a step */
};

/* Rank r owns the numbers slice[r] up to slice[r + 1]. */
struct ranks_plan ranks_plan(const size_t *slice, long leaves, int ranks);
/* The share of its ranks that a step makes use of, where a leaf takes so many seconds and a link so many bytes a
 * second; 1: each of them adds as much as the first. */
double ranks_efficiency(const struct ranks_plan *p, double leaf, double bytes_a_second);

void ranks_plan_table(const struct ranks_plan *p, struct buffer *out);
void ranks_plan_tell(const struct ranks_plan *p, struct json_out *j);

#endif
