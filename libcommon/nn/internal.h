/* internal.h - helpers for op_*.c and for branches.  Private to nn/. */
#ifndef NN_INTERNAL_H
#define NN_INTERNAL_H

#include <stdbool.h>
#include "ops.h"

/* Checks shapes.  Our own code chooses them, so a mismatch is a bug in a network. */
static inline void must(bool holds, const char *what)
{
	if (!holds)
		die(EXIT_OTHER, "shapes do not fit (%s); this is a bug in lora-tools", what);
}

/* op_elementwise.c: where a + b goes, which is b's memory where that is read no more; and the node of the two */
struct tensor *sum_of(struct tape *t, struct tensor *a, struct tensor *b);
struct node add_node(struct tensor *a, struct tensor *b);
/* the node of geglu(x), with its output, which is not computed yet */
struct node geglu_node(struct tape *t, struct tensor *x);

/* Is some part of it trained? */
bool branch_trains(const struct branch *b);
/* branch.c: does module dropout drop the whole module now? */
bool branch_is_out(const struct branch *b);

#endif
