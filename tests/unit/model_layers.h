/*
 * model_layers.h - the layers of a model of any sizes without its weights, for tests of adapters; and a device that is
 * the host's memory.
 */
#ifndef TESTS_MODEL_LAYERS_H
#define TESTS_MODEL_LAYERS_H

#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/model/family.h"
#include "../../libcommon/model/layers.h"
#include "../../libcommon/model/source_tensors.h"

static inline enum layer_group group_of(const char *name)
{
	if (strstr(name, "attentions.") || strstr(name, ".self_attn.") || strstr(name, ".mlp."))
		return LAYER_TRANSFORMER;
	return strstr(name, "resnets.") || strstr(name, "samplers.") ? LAYER_CONV_SET : LAYER_OTHER;
}

/* A 1x1 convolution in files is a linear layer inside, as the networks have it. */
static inline void add_test_layer(struct layer_list *list, const struct family *family, enum component c,
				  const struct known_tensor *t, bool bias)
{
	char *name = xstrndup(t->name, strlen(t->name) - strlen(".weight"));
	struct weight w = { .dtype = DTYPE_F32, .out = (int)t->shape[0], .in = (int)t->shape[1], .kh = 1, .kw = 1 };
	struct linear *linear = NULL;
	struct conv *conv = NULL;
	struct norm *norm = NULL;

	if (t->dims == 1) {
		norm = xcalloc(1, sizeof(*norm));
		w.in = 1;
		norm->w = w;
	} else if (t->dims == 2 || (t->shape[2] == 1 && t->shape[3] == 1)) {
		linear = xcalloc(1, sizeof(*linear));
		linear->w = w;
	} else {
		conv = xcalloc(1, sizeof(*conv));
		conv->w = w;
		conv->w.kh = (int)t->shape[2];
		conv->w.kw = (int)t->shape[3];
	}
	layer_add(list, c, norm ? LAYER_NORM : group_of(name), name, linear, conv);
	list->layer[list->count - 1].norm = norm;
	list->layer[list->count - 1].bias = bias;
	list->layer[list->count - 1].convolution = t->dims == 4;
	list->layer[list->count - 1].family = family;
	free(name);
}

static inline void test_layers(const struct model_config *m, struct layer_list *list)
{
	static const enum component with_layers[] = { COMPONENT_UNET, COMPONENT_TE1, COMPONENT_TE2 };

	*list = (struct layer_list){ 0 };
	for (int k = 0; k < 3; k++) {
		struct known_tensors t;

		if (!(m->family->parts & PART(with_layers[k])))
			continue;
		known_tensors(m, with_layers[k], &t);
		for (size_t i = 0; i < t.count; i++) {
			const char *end = strrchr(t.tensor[i].name, '.');

			if (!strcmp(end, ".weight") && !strstr(t.tensor[i].name, ".embeddings."))
				add_test_layer(list, m->family, with_layers[k], &t.tensor[i],
					       i && !strcmp(strrchr(t.tensor[i - 1].name, '.'), ".bias") &&
					       !strncmp(t.tensor[i - 1].name, t.tensor[i].name,
							end + 1 - t.tensor[i].name));
		}
		known_tensors_free(&t);
	}
}

static inline void free_test_layers(struct layer_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->layer[i].linear);
		free(list->layer[i].conv);
		free(list->layer[i].norm);
	}
	layer_list_free(list);
}

#endif
