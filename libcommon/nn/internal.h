/* internal.h - of op_*.c alone. */
#ifndef NN_INTERNAL_H
#define NN_INTERNAL_H

#include <stdbool.h>
#include "../base/error.h"

/* Shapes are our own affair: a mismatch is a bug in a network. */
static inline void must(bool holds, const char *what)
{
	if (!holds)
		die(EXIT_OTHER, "shapes do not fit (%s); this is a bug in lora-tools", what);
}

#endif
