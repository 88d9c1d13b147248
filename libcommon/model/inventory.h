/*
 * * inventory.h - the list of the layers that a network has loaded, each under diffusers' name.
 *
 * A network loads all its layers through the take_*() functions, so that listing them for adapters and freeing them
 * need no second pass over the network.  The inventory stores their addresses, so layers must not move.  Must not know
 * networks.
 *
 * After a failure later calls do nothing, and `failed` stays set.
 */
#ifndef MODEL_INVENTORY_H
#define MODEL_INVENTORY_H

#include "layers.h"

struct inventory {
	struct loader loader;
	struct error *error;            /* while loading */
	bool failed;
	struct layer_list layers;
	struct weight_stack stack; int stack_left;      /* layers of it that are still to come */
	void **block; size_t blocks, capacity;  /* memory of stacks */
};

/* The name of a layer is parent.child, or child where parent is "". */
void take_linear(struct inventory *v, enum layer_group g, const char *parent, const char *child, int out, int in,
		 bool bias, struct linear *l);
/* The weights of the next `count` layers are to lie one behind the other, as one input is multiplied by all of them. */
void take_stacked(struct inventory *v, int count);
void take_conv(struct inventory *v, enum layer_group g, const char *parent, const char *child, int out, int in,
	       int kernel, int stride, struct conv *c);
void take_conv1x1(struct inventory *v, enum layer_group g, const char *parent, const char *child, int out, int in,
		  struct linear *l);
void take_norm(struct inventory *v, const char *parent, const char *child, int c, int groups, float eps,
	       struct norm *n);

/* appends the layers, in the order they were taken */
void inventory_list(const struct inventory *v, struct layer_list *list);
void inventory_free(struct inventory *v);                                       /* frees the layers, too */

#endif
