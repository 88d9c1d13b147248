/*
 * encode_variants.h - makes the variants of a sample's captions that are encoded.  Private to encode*.c.
 */
#ifndef DATA_ENCODE_VARIANTS_H
#define DATA_ENCODE_VARIANTS_H

#include "caption_variants.h"
#include "latents.h"

/* A caption gives `variants` texts where the options make it vary, else one.  With dropout, the last is one without
 * words. */
void variants_make(const struct caption_options *o, long variants, uint64_t seed, struct latent_sample *s);

#endif
