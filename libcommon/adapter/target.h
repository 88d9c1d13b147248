/*
 * target.h - how adapters are written for one kind of reader: names, endings, where alphas stand.
 *
 * Rules as data: a row each.  What the readers do was found by running them (ComfyUI, diffusers 0.42, PEFT 0.21,
 * sd-scripts 0.10).  Must not know tensors or files.
 */
#ifndef ADAPTER_TARGET_H
#define ADAPTER_TARGET_H

#include "../io/json.h"
#include "keys.h"

enum target_alphas {
	ALPHAS_IN_TENSORS,
	/* lora_adapter_metadata: diffusers refuses a file with alphas among its tensors */
	ALPHAS_IN_HEADER,
	ALPHAS_BESIDE,                  /* adapter_config.json: the adapter is a folder */
};

struct adapter_target {
	const char *name;               /* "comfy" */
	/* Rows of keys.c: where only the UNet has modules, and of each component where text encoders have some too.
	 * NULL: kohya's, in the family's own form. */
	const char *unet, *all[COMPONENT_VAE];
	const char *suffix[BRANCH_PARTS];       /* of a LoRA's parts; NULL: its readers refuse that part */
	/* A DoRA's lengths: the ending, and what they are of.  A row: [n]; else [n,1] or [1,n] and 1s. */
	const char *lengths;
	bool by_input, row;
	bool kinds;                     /* its readers take others than LoRA, under the kind's own endings */
	const char *bias;               /* what a layer's bias gets; scaled: times the module's scale */
	bool bias_scaled;
	enum target_alphas alphas;
};

/* Up to one without a name; the first is how everything else is written. */
extern const struct adapter_target adapter_targets[];
const struct adapter_target *adapter_target(const char *name);  /* NULL: there is none */

/* What it calls a module of that kind; malloced.  texts: text encoders have modules too. */
char *target_stem(const struct adapter_target *t, bool texts, const struct layer *l, const struct unet_config *c,
		  const struct adapter_kind *kind, const struct module_form *f);
/* "lora_up.weight".  NULL: its readers take no such part. */
const char *target_suffix(const struct adapter_target *t, const struct adapter_kind *kind, int part);
/* The same of a norm's gain and bias, which have names of their own; NULL: none. */
const char *target_norm_suffix(const struct adapter_target *t, bool bias);

/* ---- PEFT's configuration ---- */

struct target_module {
	enum component component;
	char *path;                     /* as PEFT sees it; malloced */
	int rank;
	double alpha;
};
char *target_path(const struct adapter_target *t, const struct layer *l, const char *stem);
/* Appends the fields of a LoRA's configuration for these modules, each with the prefix before its name. */
void target_config(struct json_out *j, const char *prefix, const struct target_module *module, size_t count,
		   bool dora, bool bias);

#endif
