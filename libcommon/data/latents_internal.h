/*
 * latents_internal.h - parts of reading a sample, for latents.c and latent_set.c.  Private to these.
 */
#ifndef DATA_LATENTS_INTERNAL_H
#define DATA_LATENTS_INTERNAL_H

#include "latents.h"

#define LATENT_MEMBER "latent.safetensors"
#define TEXT_MEMBER   "text.safetensors"

/* One member, LATENT_MEMBER or TEXT_MEMBER; for the latter s->family is known. */
int latent_payload_read(const char *label, const struct tar_member *m, struct latent_sample *s,
			struct error *e) MUST_CHECK;
int latent_fields_read(const char *label, const json_t *json, struct latent_sample *s, struct error *e) MUST_CHECK;

#endif
