/*
 * adapter_scale.h - where the scale of an adapter's module comes from.
 *
 * Owns the order: the module's own alpha tensor, the header's lora_adapter_metadata (diffusers), adapter_config.json in the file's
 * folder (PEFT), the rank.  Owns too which file is meant where a folder is named.  Must not know layers.
 */
#ifndef ADAPTER_SCALE_H
#define ADAPTER_SCALE_H

#include "../io/safetensors.h"

enum alpha_origin { ALPHA_TENSOR, ALPHA_HEADER, ALPHA_CONFIG, ALPHA_RANK };
#define ALPHA_ORIGINS 4

const char *alpha_origin_name(enum alpha_origin o);     /* "lora_adapter_metadata" */

/* By it alpha / rank is the scale: use_rslora is in it. */
struct module_alpha { double value; enum alpha_origin origin; };

struct alpha_question {
	const char *name; size_t length;        /* the module as the file calls it */
	int component;                          /* an enum component */
	const char *path;                       /* as the model calls it, where the file's name does not tell; NULL: not known */
	const struct safetensor *tensor;        /* its alpha, or NULL */
	bool lengths;                           /* it has a DoRA's */
	int64_t rank;
};

/* The file must outlive it.  Nothing else is read before a module asks. */
struct alpha_sources *alpha_sources_new(const struct safetensors *f);
void alpha_sources_free(struct alpha_sources *s);       /* accepts NULL */
int alpha_of(struct alpha_sources *s, const struct alpha_question *q, struct module_alpha *out, struct error *e) MUST_CHECK;
/* What there is beside the tensors that an alpha may come from, as text: two files with the same tensors and the same text are the same
 * adapter.  Appends. */
void alpha_sources_text(const struct alpha_sources *s, struct buffer *out);

/* A folder of PEFT's or diffusers' stands for the adapter in it.  *file malloced. */
int adapter_named(const char *named, char **file, struct error *e) MUST_CHECK;
bool is_adapter_folder(const char *path);

#endif
