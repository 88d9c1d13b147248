/*
 * adapter_scale.h - the alpha of an adapter's module: from its tensor, or from one of several other sources.
 *
 * Owns their order: the module's own tensors of a scale and of alpha, the header's lora_adapter_metadata (diffusers),
 * adapter_config.json in the file's folder (PEFT: for modules with PEFT's or diffusers' names, or a file with PEFT's
 * own), the rank.  An alpha may be an integer (I64) in kohya's files.  The symptom of reading the tensor alone is half
 * or a quarter of the strength.  Owns too which file in a folder is the adapter.  Must not know layers.
 */
#ifndef ADAPTER_SCALE_H
#define ADAPTER_SCALE_H

#include "../io/json.h"
#include "../io/safetensors.h"

#define LORA_METADATA_KEY "lora_adapter_metadata"
#define PEFT_CONFIG_NAME "adapter_config.json"
#define ADAPTER_IN_FOLDER "adapter_model.safetensors"

enum alpha_origin { ALPHA_TENSOR, ALPHA_HEADER, ALPHA_CONFIG, ALPHA_RANK };
#define ALPHA_ORIGINS 4

const char *alpha_origin_name(enum alpha_origin o);     /* "lora_adapter_metadata" */

/* alpha / rank is the module's scale; use_rslora is already in the value. */
struct module_alpha { double value; enum alpha_origin origin; };

struct alpha_question {
	const char *name; size_t length;        /* the module as the file calls it */
	int component;                          /* an enum component */
	/* as the model calls it, where the file's name does not tell; NULL: not known */
	const char *path;
	const struct safetensor *tensor;        /* its alpha, or NULL */
	/* a number that stands for alpha / rank, and one that multiplies it; or NULL */
	const struct safetensor *scale, *scalar;
	bool lengths;                           /* it has a DoRA's */
	int64_t rank;                           /* 0: none, and an alpha only where a tensor says it */
	bool none;                              /* there is no alpha in such files */
	const char *peft;                       /* PEFT's type of it; NULL: no configuration of PEFT says its alpha */
};

/* f must outlive the result.  No other file is read before the first alpha_of() that needs it. */
struct alpha_sources *alpha_sources_new(const struct safetensors *f);
void alpha_sources_free(struct alpha_sources *s);       /* accepts NULL */
int alpha_of(struct alpha_sources *s, const struct alpha_question *q, struct module_alpha *out,
	     struct error *e) MUST_CHECK;
const struct safetensors *alpha_sources_file(const struct alpha_sources *s);
/* PEFT's configuration beside the file, as long as the sources live.  *config NULL: there is none. */
int alpha_sources_config(struct alpha_sources *s, const json_t **config, const char **path,
			 struct error *e) MUST_CHECK;
/* Appends, as text, all sources of alphas but the tensors: two files with the same tensors and the same text are the
 * same adapter. */
void alpha_sources_text(const struct alpha_sources *s, struct buffer *out);

/* *file (malloced): the adapter's file that the user named; in a folder of PEFT's or diffusers', the adapter in it. */
int adapter_named(const char *named, char **file, struct error *e) MUST_CHECK;
bool is_adapter_folder(const char *path);

#endif
