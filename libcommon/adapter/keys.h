/*
 * keys.h - what every dialect calls a layer.
 *
 * Rules as data: one row a dialect.  What ends a tensor's name is its kind's (kind.h), lengths', or another method's.
 * Must not know tensors.
 */
#ifndef ADAPTER_KEYS_H
#define ADAPTER_KEYS_H

#include "../model/layers.h"
#include "kind.h"

/* kohya's stem of a layer, malloced, in the dialect of its family's row.  SDXL: "lora_te1_" or "lora_te2_" + HF name,
 * "lora_unet_" + SGM name, dots to underscores.  levels and resnets come from the UNet's config. */
char *kohya_stem(const struct layer *l, const struct unet_config *c);
/* The same in another dialect of the table, by its name ("peft") or by what it adds to the name of the family's own
 * ("OFT"); the family's own where that has no name for it. */
char *adapter_stem(const char *dialect, const struct layer *l, const struct unet_config *c);
/* levels, attention and resnets as the layers' names show them; nothing else is set.  For code that has layers but no
 * config. */
void layers_config(const struct layer_list *layers, struct unet_config *c);
/* "down_blocks.1.attentions.0.proj_in" <-> "input_blocks.4.1.proj_in", malloced; NULL: no such block.  For a
 * single-file checkpoint too. */
char *sgm_from_diffusers(const char *name, const struct unet_config *c);
char *diffusers_from_sgm(const char *name, const struct unet_config *c);

/* What a tensor is to its module. */
enum {
	PART_ALPHA = -1,
	PART_LENGTHS = -2,              /* DoRA's */
	PART_OTHER = -3,                /* of a method without a row in kinds.c */
	PART_BIAS = -4,                 /* added to the layer's bias */
	PART_SCALED_BIAS = -5,          /* the same, with the module's scale */
	PART_SCALE = -6,                /* stands for alpha / rank */
	PART_SCALAR = -7,               /* multiplies it */
	PART_EMBEDDING = -8,            /* of no layer: an embedding that came with the adapter */
};
struct key_part {
	int part;                       /* 0 and up: the kind's own number */
	const struct adapter_kind *kind;        /* NULL: alpha, lengths and others have none */
	const char *method;             /* "LoRA", "DoRA", or what else the ending belongs to; NULL: not known */
	bool of_outputs;                /* lengths under this name are of a layer's outputs, whatever their shape */
};

/* Which layer does a tensor of an adapter file belong to?  Understands the dialects in the table of keys.c. */
struct key_index;
struct key_index *key_index_new(const struct layer_list *layers, const struct unet_config *c);
void key_index_free(struct key_index *k);
/* index of the layer, or -1; *part says which tensor of it; *dialect names the row */
long key_index_find(const struct key_index *k, const char *tensor_name, struct key_part *part, const char **dialect);

/* ---- what a name alone tells ---- */
/* Length of the module's name in front of ".lora_down.weight", ".alpha" and the like, 0: no adapter's tensor.  Of an
 * embedding: of its own name with what stands in front of it. */
size_t adapter_key_split(const char *tensor_name, struct key_part *part);
/* The component by the dialects' prefixes, and the dialect; -1, and NULL: none has it. */
int adapter_key_component(const char *tensor_name, const char **dialect);
/* Does the name go on behind the prefix as a UNet's or a CLIP text encoder's does? */
bool adapter_key_is_known(const char *tensor_name);
/* A module's name as PEFT's patterns see it, malloced: without the dialect's prefix.  NULL: the dialect has no dots or
 * SGM's blocks. */
char *adapter_key_path(const char *module_name);

#endif
