/*
 * encode_variants.h - a sample's captions as written become those that are encoded.  Private to lora-encode's work.
 */
#ifndef DATA_ENCODE_VARIANTS_H
#define DATA_ENCODE_VARIANTS_H

#include "caption_variants.h"
#include "latents.h"

/* Each caption gives `variants` where the options make it vary, else one; with dropout one without words comes last. */
void variants_make(const struct caption_options *o, long variants, uint64_t seed, struct latent_sample *s);

#endif
