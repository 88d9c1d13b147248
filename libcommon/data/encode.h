/*
 * encode.h - image tars in, latent tar out: VAE mean and std of each picture, both text encoders' outputs of each caption.
 *
 * Each sample's id is the SHA-256 of everything that decided its bytes.  Must not know training.
 */
#ifndef DATA_ENCODE_H
#define DATA_ENCODE_H

#include <stdbool.h>
#include "../base/error.h"
#include "caption_variants.h"

struct encode_settings {
	const char *model, *model_config, *vae, *device, *output, *reuse, *shard;
	const char *precision;                  /* fp32, bf16, fp16: of the stream's numbers, and the most that weights keep in memory */
	long batch;                             /* pictures of one size that are encoded together */
	bool goes_on;                           /* from the output as it is, and from what interrupted runs left of it */
	long expected;                          /* pictures, for the bar; 0: unknown */
	bool no_text;
	struct caption_options captions;        /* where a sample says nothing of its own */
	long max_token_length, clip_skip;
	long holes;                             /* drawn for each picture, for an inpainting model */
	long caption_variants;                  /* encoded where captions vary from visit to visit */
	const char *seed;                       /* of the variants */
};

int encode_run(const struct encode_settings *s, const char *const *inputs, size_t count, struct error *e) MUST_CHECK;

#endif
