/*
 * leaf_sums.h - adds the gradients of a step's leaves in the tree of leaves.h.
 *
 * A leaf's gradients come in memory that the tape lends until the next leaf.  What must wait for its other half waits
 * in host memory: a card's is dear.  Must not know what becomes of the sums of several ranks.
 */
#ifndef OPTIMIZE_LEAF_SUMS_H
#define OPTIMIZE_LEAF_SUMS_H

#include "leaves.h"
#include "optimizer.h"

/* The gradients of all parameters, one behind the other as optimizer.h numbers them. */
struct leaf_sum {
	struct leaves of;
	float *value;                   /* host; not that of the last one, where it stays in the parameters */
	bool *arrived;                  /* of each parameter; the others have no value */
};

struct leaf_sums {
	const struct optimizer *optimizer;
	struct leaf_sum *waiting;       /* from left to right */
	size_t depth, capacity;
	bool whole_waits;               /* the step's last sum too: other ranks may have wanted a part of it */
	bool last_stays;                /* this rank's last sum of the step is in the parameters */
};

/* leaves: at most, of a step, by so many ranks */
int leaf_sums_init(struct leaf_sums *s, const struct optimizer *o, uint32_t leaves, int ranks,
		   struct error *e) MUST_CHECK;
void leaf_sums_free(struct leaf_sums *s);
/* The parameters hold the gradients of this leaf of `count`: adds to them what waits for them.  The step's last sum
 * stays in the parameters, and where devices are joined each rank's last one; any other waits.  The tape lends memory
 * to a parameter that the leaf gave no gradient. */
void leaf_sums_add(struct leaf_sums *s, struct tape *t, uint32_t leaf, uint32_t count);
void leaf_sums_begin(struct leaf_sums *s);              /* a step: nothing waits */

#endif
