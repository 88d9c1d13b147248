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

/* Some part of it is trained. */
bool branch_trains(const struct branch *b);
/* branch.c: is the whole module left out now? */
bool branch_is_out(const struct branch *b);
/* dw [out,kh,kw,in] or its gradient: rows that are left out become 0 */
void branch_leave_out_rows(struct tape *t, const struct branch *b, float *dw, const struct weight *w);

#endif
