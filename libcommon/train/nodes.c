/* The sums of gradients that ranks bring to the end of a step, and the tree over them. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "nodes.h"

static void list_nodes(struct nodes *n, int ranks)
{
	n->node = xcalloc((size_t)n->leaves + 1, sizeof(*n->node));
	n->at = xcalloc(ranks + 1, sizeof(*n->at));
	for (int r = 0; r < ranks; r++) {
		struct leaves of = leaves_of_rank(n->leaves, ranks, r);

		while (of.first < of.end) {
			n->node[n->count].rank = r;
			n->node[n->count++].of = leaves_next_node(&of, n->leaves);
		}
		n->at[r + 1] = n->count;
	}
}

void nodes_gather(struct nodes *n, const struct leaf_sums *mine, uint32_t leaves)
{
	const struct ranks *ranks = &mine->optimizer->ranks;
	size_t *at = xcalloc(ranks->count + 1, sizeof(*at));

	*n = (struct nodes){ .leaves = leaves, .parameters = mine->optimizer->count };
	list_nodes(n, ranks->count);
	n->arrived = xcalloc(n->count + 1, n->parameters * sizeof(*n->arrived) + 1);
	for (size_t i = 0; i < mine->depth; i++)
		memcpy(n->arrived + (n->at[ranks->rank] + i) * n->parameters, mine->waiting[i].arrived,
		       n->parameters * sizeof(*n->arrived));
	for (int r = 0; r <= ranks->count; r++)
		at[r] = n->at[r] * n->parameters * sizeof(*n->arrived);
	ranks_gather(ranks, n->arrived, at);
	free(at);
}

void nodes_free(struct nodes *n)
{
	free(n->node);
	free(n->at);
	free(n->arrived);
}

bool any_node_arrived(const struct nodes *n, size_t parameter)
{
	for (size_t i = 0; i < n->count; i++)
		if (node_arrived(n, i, parameter))
			return true;
	return false;
}

float *nodes_add(const struct nodes *n, float *const *value, size_t floats, add_fn *add, const struct optimizer *o)
{
	struct { struct leaves of; float *value; } stack[64];
	size_t depth = 0, i;

	for (i = 0; i < n->count; i++) {
		struct leaves of = n->node[i].of;
		float *x = value[i];

		while (depth && leaves_join(stack[depth - 1].of, of, n->leaves)) {
			float *left = stack[--depth].value;
			if (left && x)
				add(o, left, x, floats);
			x = left ? left : x;
			of.first = stack[depth].of.first;
		}
		stack[depth].of = of;
		stack[depth++].value = x;
	}
	return depth ? stack[0].value : NULL;
}
