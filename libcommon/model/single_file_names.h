/*
 * single_file_names.h - translates a tensor's name between a single-file checkpoint and a diffusers folder.
 *
 * Private to source*.c and lora-merge.  Names only, without the component's prefix: must not know files or shapes.
 * Total over the tensors of a component and one to one, but for the second encoder's fused q, k and v: three diffusers'
 * names, three parts of one.
 */
#ifndef MODEL_SINGLE_FILE_NAMES_H
#define MODEL_SINGLE_FILE_NAMES_H

#include "source.h"

#define TENSOR_NAME_ROOM 256

struct single_name {
	char name[TENSOR_NAME_ROOM];
	int part, parts;                /* rows part*(n/parts) .. of the file's n: 0 of 1, or 0..2 of 3 */
	bool transposed;                /* the file has [in,out] */
};

/* false: the component has no tensor of that pattern (its numbers are not checked against the config's). */
bool single_name_of(const struct model_config *m, enum component c, const char *diffusers, struct single_name *s);
/* Returns the number of diffusers' tensors in it: 0 (pattern not known: position_ids, logit_scale, ...), 1 or 3.
 * out: that of `part`. */
int diffusers_name_of(const struct model_config *m, enum component c, const char *single, int part,
		      char out[TENSOR_NAME_ROOM]);

#endif
