/*
 * peft_config.h - reads the scales of an adapter's modules from a configuration of PEFT.
 *
 * Owns the names of its fields, PEFT's rule for patterns, and which fields change an adapter's effect in ways that are
 * not supported here.  Must not know files: it is given JSON, from a header or from adapter_config.json.
 */
#ifndef ADAPTER_PEFT_CONFIG_H
#define ADAPTER_PEFT_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include "../base/error.h"

struct peft_config;

/* Reads the object's members whose names begin with prefix ("unet.", or "" for all).  where: for messages.  *out NULL:
 * they hold no scale.  A field that is not supported is EXIT_INPUT and named. */
int peft_config_read(const json_t *object, const char *prefix, const char *where, struct peft_config **out,
		     struct error *e) MUST_CHECK;
void peft_config_free(struct peft_config *c);           /* accepts NULL */

struct peft_module {
	const char *name;               /* as the file calls it, for messages */
	const char *path;               /* as PEFT calls it: "down_blocks.1.attentions.0.proj_in"; NULL: not known */
	const char *type;               /* its kind's peft_type */
	int rank;                       /* its tensors'; 0: they are whole matrices */
	bool lengths;                   /* it has a DoRA's */
};

/* The alpha by which alpha / rank is the scale: lora_alpha (LoHa's and LoKr's is alpha), or with use_rslora
 * lora_alpha * sqrt(rank).  Whole matrices must have a scale of 1, which they have in every program but PEFT. */
int peft_config_alpha(const struct peft_config *c, const struct peft_module *m, double *alpha,
		      struct error *e) MUST_CHECK;

#endif
