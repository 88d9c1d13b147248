/* Loading layers into the list of a network's layers, and freeing them. */
#include <stdlib.h>
#include "../base/memory.h"
#include "inventory.h"

static char *join(const char *parent, const char *child)
{
	return *parent ? xprintf("%s.%s", parent, child) : xstrdup(child);
}

void take_stacked(struct inventory *v, int count)
{
	v->stack = (struct weight_stack){ .count = count };
	v->stack_left = count;
	v->loader.stack = &v->stack;
}

/* After one of its layers, even if that failed. */
static void leave_stack(struct inventory *v)
{
	if (!v->loader.stack || (--v->stack_left && !v->failed))
		return;
	v->loader.stack = NULL;
	if (!v->stack.block)
		return;
	GROW(v->block, v->blocks, v->capacity);
	v->block[v->blocks++] = v->stack.block;
}

/* Before a layer is loaded. */
static void begin(struct inventory *v, enum layer_group g)
{
	v->loader.inner = v->loader.component != COMPONENT_VAE && (g == LAYER_TRANSFORMER || g == LAYER_CONV_SET);
}

static void enter(struct inventory *v, int status, enum layer_group g, char *name, struct linear *l, struct conv *c)
{
	v->loader.inner = false;
	v->failed = status != 0;
	leave_stack(v);
	if (!status)
		layer_add(&v->layers, v->loader.component, g, name, l, c);
	free(name);
}

void take_linear(struct inventory *v, enum layer_group g, const char *parent, const char *child, int out, int in,
		 bool bias, struct linear *l)
{
	char *name;

	if (v->failed)
		return;
	name = join(parent, child);
	begin(v, g);
	enter(v, load_linear(&v->loader, name, out, in, bias, l, v->error), g, name, l, NULL);
	if (!v->failed)
		v->layers.layer[v->layers.count - 1].bias = bias;
}

void take_conv(struct inventory *v, enum layer_group g, const char *parent, const char *child, int out, int in,
	       int kernel, int stride, struct conv *c)
{
	char *name;

	if (v->failed)
		return;
	name = join(parent, child);
	begin(v, g);
	enter(v, load_conv(&v->loader, name, out, in, kernel, stride, c, v->error), g, name, NULL, c);
}

void take_conv1x1(struct inventory *v, enum layer_group g, const char *parent, const char *child, int out, int in,
		  struct linear *l)
{
	char *name;

	if (v->failed)
		return;
	name = join(parent, child);
	begin(v, g);
	enter(v, load_conv1x1(&v->loader, name, out, in, l, v->error), g, name, l, NULL);
	if (!v->failed)
		v->layers.layer[v->layers.count - 1].convolution = v->layers.layer[v->layers.count - 1].bias = true;
}

void take_norm(struct inventory *v, const char *parent, const char *child, int c, int groups, float eps, struct norm *n)
{
	char *name;

	if (v->failed)
		return;
	name = join(parent, child);
	v->failed = load_norm(&v->loader, name, c, groups, eps, n, v->error) != 0;
	if (!v->failed)
		layer_add_norm(&v->layers, v->loader.component, name, n);
	free(name);
}

void inventory_list(const struct inventory *v, struct layer_list *list)
{
	for (size_t i = 0; i < v->layers.count; i++) {
		const struct layer *l = &v->layers.layer[i];
		layer_add(list, l->component, l->group, l->name, l->linear, l->conv);
		list->layer[list->count - 1].norm = l->norm;
		list->layer[list->count - 1].convolution = l->convolution;
		list->layer[list->count - 1].bias = l->bias;
		list->layer[list->count - 1].family = model_files_config(v->loader.files)->family;
	}
}

void inventory_free(struct inventory *v)
{
	const struct backend *be = v->loader.be;
	struct device *d = v->loader.device;

	for (size_t i = 0; i < v->layers.count; i++) {
		struct layer *l = &v->layers.layer[i];
		if (l->linear)
			free_linear(be, d, l->linear);
		else if (l->conv)
			free_conv(be, d, l->conv);
		else
			free_norm(be, d, l->norm);
	}
	layer_list_free(&v->layers);
	while (v->blocks)
		be->release(d, v->block[--v->blocks]);
	free(v->block);
	v->block = NULL;
	v->capacity = 0;
}
