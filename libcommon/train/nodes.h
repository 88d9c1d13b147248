/*
 * nodes.h - the sums of gradients that the ranks of a run bring to the end of a step: nodes of the tree of leaves
 * (optimize/leaves.h), and the rest of that tree over them.
 *
 * Must not know where the sums lie.
 */
#ifndef TRAIN_NODES_H
#define TRAIN_NODES_H

#include "../optimize/leaf_sums.h"

struct nodes {
	struct { struct leaves of; int rank; } *node;           /* in the order of their leaves */
	size_t count, *at;              /* rank r brings at[r] up to at[r + 1] */
	size_t parameters;
	bool *arrived;                  /* [count, parameters]: it has a gradient */
	uint32_t leaves;
};

/* Those of a step with so many leaves; which gradients arrived, every rank tells every other. */
void nodes_gather(struct nodes *n, const struct leaf_sums *mine, uint32_t leaves);
void nodes_free(struct nodes *n);

static inline bool node_arrived(const struct nodes *n, size_t node, size_t parameter)
{
	return n->arrived[node * n->parameters + parameter];
}
bool any_node_arrived(const struct nodes *n, size_t parameter);

/* Adds up the tree over values of the nodes, of so many floats, NULL where none arrived.  Returns the one of them in
 * which the sum is; NULL: all are NULL. */
typedef void add_fn(const struct optimizer *o, float *to, const float *x, size_t floats);
float *nodes_add(const struct nodes *n, float *const *value, size_t floats, add_fn *add, const struct optimizer *o);

#endif
