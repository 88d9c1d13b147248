/*
 * source_tensors.h - the list of every tensor that a component of given sizes has: diffusers' name and shape.
 *
 * Private to source*.c.  Must not know files.  The networks ask for the same names; a name that this list lacks is
 * refused when the network loads.
 */
#ifndef MODEL_SOURCE_TENSORS_H
#define MODEL_SOURCE_TENSORS_H

#include "source.h"

struct known_tensor {
	char *name;
	int dims;
	int64_t shape[4];
	bool square;            /* [c,c] that files may also hold as [c,c,1,1] */
};

struct known_tensors { struct known_tensor *tensor; size_t count, capacity; };

/* In byte order of the names. */
void known_tensors(const struct model_config *c, enum component which, struct known_tensors *list);
void known_tensors_free(struct known_tensors *list);

#endif
