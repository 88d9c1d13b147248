/* internal.h - of op_*.c alone. */
#ifndef NN_INTERNAL_H
#define NN_INTERNAL_H

#include <stdbool.h>
#include "ops.h"

/* Shapes are our own affair: a mismatch is a bug in a network. */
static inline void must(bool holds, const char *what)
{
	if (!holds)
		die(EXIT_OTHER, "shapes do not fit (%s); this is a bug in lora-tools", what);
}

/* lora_dropout.c: is the whole module left out now? */
bool lora_is_out(const struct lora *l);
/* z [n,rows,rank] = x down^T, or its gradient: what is left out becomes 0.  Its own transpose. */
void lora_leave_out(struct tape *t, const struct lora *l, float *z, int n, int rows);

#endif
