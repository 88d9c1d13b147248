/* Lists of named layers. */
#include <stdlib.h>
#include "../base/memory.h"
#include "layers.h"

void layer_add(struct layer_list *list, enum component c, enum layer_group g, const char *name, struct linear *l,
	       struct conv *k)
{
	GROW(list->layer, list->count, list->capacity);
	list->layer[list->count++] = (struct layer){ .component = c, .group = g, .name = xstrdup(name), .linear = l,
		.conv = k, .convolution = k != NULL, .bias = k != NULL };
}

void layer_add_norm(struct layer_list *list, enum component c, const char *name, struct norm *n)
{
	layer_add(list, c, LAYER_NORM, name, NULL, NULL);
	list->layer[list->count - 1].norm = n;
	list->layer[list->count - 1].bias = true;
}

void layer_list_free(struct layer_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->layer[i].name);
	free(list->layer);
	*list = (struct layer_list){ 0 };
}

const struct weight *layer_weight(const struct layer *l)
{
	return l->linear ? &l->linear->w : l->conv ? &l->conv->w : &l->norm->w;
}

struct branch **layer_branch(const struct layer *l)
{
	return l->linear ? &l->linear->branch : l->conv ? &l->conv->branch : &l->norm->branch;
}
