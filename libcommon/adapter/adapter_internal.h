/*
 * adapter_internal.h - what adapter*.c and lengths.c share: memory of a module, and its lengths.
 *
 * Private to them.
 */
#ifndef ADAPTER_INTERNAL_H
#define ADAPTER_INTERNAL_H

#include "adapter.h"
#include "adapter_file.h"

/* adapter_memory.c.  Of t's size, holding host, or zeros where that is NULL.  -1: no memory; nothing is said. */
int adapter_put_parameter(struct adapter *a, struct tensor *t, const float *host, bool trainable);
/* The same for floats alone.  NULL: no memory. */
float *adapter_floats(struct adapter *a, const float *host, size_t n);
/* For ranks and outputs of the modules that there are. */
int adapter_put_constants(struct adapter *a, struct error *e) MUST_CHECK;

/* lengths.c.  For the modules that have some in the file (NULL: no file), or for all: then those without begin as the norms of the rows
 * as they are now. */
int adapter_add_lengths(struct adapter *a, const struct adapter_file *f, bool all, double weight, bool trainable,
			struct error *e) MUST_CHECK;

#endif
