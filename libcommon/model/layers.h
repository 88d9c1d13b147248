/*
 * layers.h - the named layers of a network to which an adapter can be attached.
 *
 * A network lists its linear and convolution layers under diffusers' names.  The code of adapters knows key dialects,
 * not networks.
 */
#ifndef MODEL_LAYERS_H
#define MODEL_LAYERS_H

#include "source.h"

enum layer_group {              /* kohya's target classes */
	LAYER_TRANSFORMER,      /* children of Transformer2DModel; of a text encoder: attention and MLP */
	LAYER_CONV_SET,         /* children of ResnetBlock2D, Downsample2D, Upsample2D: adapted only with conv_dim */
	/* conv_in, conv_out, time and size embeddings, text_projection: other trainers' files have them */
	LAYER_OTHER,
	LAYER_NORM,             /* group and layer norms: what other programs' files add to their gains and biases */
};

struct layer {
	enum component component;
	enum layer_group group;
	char *name;             /* diffusers: "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0" */
	struct linear *linear;  /* one of the three */
	struct conv *conv;
	struct norm *norm;
	const struct family *family;    /* of the model; NULL: unknown, taken as SDXL */
	bool bias;              /* it has one */
	/* a convolution in the model; one of 1x1 is a linear layer here, and keeps four dimensions in adapter files */
	bool convolution;
};

struct layer_list { struct layer *layer; size_t count, capacity; };
void layer_add(struct layer_list *list, enum component c, enum layer_group g, const char *name, struct linear *l,
	       struct conv *k);
void layer_add_norm(struct layer_list *list, enum component c, const char *name, struct norm *n);
void layer_list_free(struct layer_list *list);
/* out, in, kernel of the layer's weight; of a norm [c,1] */
const struct weight *layer_weight(const struct layer *l);
/* the list of adapters' branches on the layer: &linear->branch and the like */
struct branch **layer_branch(const struct layer *l);

#endif
