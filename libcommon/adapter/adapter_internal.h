/*
 * adapter_internal.h - memory of a module, and its lengths (DoRA).  Private to adapter*.c and lengths.c.
 */
#ifndef ADAPTER_INTERNAL_H
#define ADAPTER_INTERNAL_H

#include "adapter.h"
#include "adapter_file.h"

/* adapter_memory.c.  Allocates data of t's size and fills it from host, or with zeros where host is NULL.  -1: no
 * memory, without a message. */
int adapter_put_parameter(struct adapter *a, struct tensor *t, const float *host, bool trainable);
/* The same for floats alone.  NULL: no memory. */
float *adapter_floats(struct adapter *a, const float *host, size_t n);
/* Makes the constants for the sides of the modules' layers, and the ranks of those whose lengths can be trained. */
int adapter_put_constants(struct adapter *a, struct error *e) MUST_CHECK;
/* What dropout.mask needs on the device. */
int adapter_put_mask(struct adapter *a, struct error *e) MUST_CHECK;

/* lengths.c.  Adds lengths to the modules that have some in the file (NULL: no file), or to all; lengths that the file
 * lacks begin as the present norms of W + dW. */
struct lengths_wish {
	enum dora_axis all;             /* every module gets some, of this axis; DORA_OFF: those of the file alone */
	double weight;
	bool trainable;
};
int adapter_add_lengths(struct adapter *a, const struct adapter_file *f, const struct lengths_wish *wish,
			struct error *e) MUST_CHECK;

#endif
