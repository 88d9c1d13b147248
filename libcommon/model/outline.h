/*
 * outline.h - the layers of a model with their shapes and without their weights: all that the arithmetic of adapters
 * needs.
 *
 * Made from a config alone, or from a model's files, which may lack parts.  Must not know adapters.
 */
#ifndef MODEL_OUTLINE_H
#define MODEL_OUTLINE_H

#include "layers.h"

struct outline {
	struct layer_list layers;       /* adapted_part()s in their order, names in byte order; group is LAYER_OTHER */
	/* behind the layers: of the weights only type and shape are set */
	struct linear *linear;
	struct conv *conv;
	struct norm *norm;
};

/* c->family is the layers'.  The weights' type is F32. */
void outline_of_config(struct outline *o, const struct model_config *c);
/* On failure there is nothing to free. */
int outline_of_files(struct outline *o, const struct model_files *m, struct error *e) MUST_CHECK;
void outline_free(struct outline *o);

#endif
