/* The layers of a model without their weights, from its config or its files. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "family.h"
#include "outline.h"
#include "source_tensors.h"

static const char end[] = ".weight";

/* Embeddings are tables, to which no adapter is attached.  A weight that is a vector is a norm's. */
static bool is_layer(const char *name, int dims)
{
	size_t n = strlen(name), k = sizeof(end) - 1;

	return n > k && strcmp(name + n - k, end) == 0 && (dims == 1 || dims == 2 || dims == 4) &&
	       !strstr(name, ".embeddings.");
}

/* before: the name in front of it in byte order, which is its bias where the layer has one; NULL: it is the first */
static bool has_bias(const char *layer, const char *before)
{
	const size_t n = strlen(layer);

	return before && !strncmp(before, layer, n) && !strcmp(before + n, ".bias");
}

static void put_layer(struct outline *o, enum component c, const char *name, const char *before, int dims,
		      const int64_t *shape, enum dtype type)
{
	struct weight w = { .dtype = type, .out = (int)shape[0], .in = dims > 1 ? (int)shape[1] : 1, .kh = 1, .kw = 1 };
	char *layer = xstrndup(name, strlen(name) - (sizeof(end) - 1));
	const size_t i = o->layers.count;

	if (dims == 4) {
		w.kh = (int)shape[2];
		w.kw = (int)shape[3];
	}
	o->linear[i].w = o->conv[i].w = o->norm[i].w = w;
	if (dims == 1)
		layer_add_norm(&o->layers, c, layer, &o->norm[i]);
	else
		layer_add(&o->layers, c, LAYER_OTHER, layer, dims == 2 ? &o->linear[i] : NULL,
			  dims == 4 ? &o->conv[i] : NULL);
	o->layers.layer[i].bias = has_bias(layer, before);
	free(layer);
}

static void room_for(struct outline *o, size_t names)
{
	*o = (struct outline){ .linear = xcalloc(names + 1, sizeof(*o->linear)),
			       .conv = xcalloc(names + 1, sizeof(*o->conv)),
			       .norm = xcalloc(names + 1, sizeof(*o->norm)) };
}

static void name_family(struct outline *o, const struct family *f)
{
	for (size_t i = 0; i < o->layers.count; i++)
		o->layers.layer[i].family = f;
}

void outline_of_config(struct outline *o, const struct model_config *c)
{
	struct known_tensors known[ADAPTED] = { 0 };
	size_t names = 0;

	for (int k = 0; k < ADAPTED; k++) {
		if (c->family->parts & PART(adapted_part(k)))
			known_tensors(c, adapted_part(k), &known[k]);
		names += known[k].count;
	}
	room_for(o, names);
	for (int k = 0; k < ADAPTED; k++) {
		for (size_t i = 0; i < known[k].count; i++) {
			const struct known_tensor *t = &known[k].tensor[i];

			if (is_layer(t->name, t->dims))
				put_layer(o, adapted_part(k), t->name, i ? t[-1].name : NULL, t->dims, t->shape,
					  DTYPE_F32);
		}
		known_tensors_free(&known[k]);
	}
	name_family(o, c->family);
}

static int put_part(struct outline *o, const struct model_files *m, enum component c, struct error *e)
{
	for (size_t i = 0; i < source_names(m, c); i++) {
		const char *name = source_name(m, c, i), *before = i ? source_name(m, c, i - 1) : NULL;
		struct source_tensor t;

		if (source_find(m, c, name, &t, e))
			return -1;
		if (is_layer(name, t.dims))
			put_layer(o, c, name, before, t.dims, t.shape, t.dtype);
	}
	return 0;
}

int outline_of_files(struct outline *o, const struct model_files *m, struct error *e)
{
	size_t names = 0;
	int status = 0;

	for (int k = 0; k < ADAPTED; k++)
		names += source_names(m, adapted_part(k));
	room_for(o, names);
	for (int k = 0; k < ADAPTED && !status; k++)
		status = put_part(o, m, adapted_part(k), e);
	name_family(o, model_files_config(m)->family);
	if (status)
		outline_free(o);
	return status;
}

void outline_free(struct outline *o)
{
	layer_list_free(&o->layers);
	free(o->linear);
	free(o->conv);
	free(o->norm);
	*o = (struct outline){ 0 };
}
