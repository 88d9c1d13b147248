/*
 * encode.h - lora-encode: from image tars to a latent tar, with the VAE's mean and std of each picture and the text
 * encoders' outputs for each caption.
 *
 * A sample's id is the SHA-256 of everything that decided its bytes (content address).  Must not know training.
 */
#ifndef DATA_ENCODE_H
#define DATA_ENCODE_H

#include <stdbool.h>
#include "../base/error.h"
#include "caption_variants.h"

struct encode_settings {
	const char *model, *model_config, *vae, *device, *output, *reuse, *shard;
	/* fp32, bf16, fp16: of the stream's numbers, and the most that weights keep in memory */
	const char *precision;
	long batch;                             /* pictures of one size that are encoded together */
	/* from the output as it is, and from what interrupted runs left of it */
	bool goes_on;
	long expected;                          /* pictures, for the bar; 0: unknown */
	bool no_text;
	struct caption_options captions;        /* defaults; a sample's own options override them */
	long max_token_length, clip_skip;
	long holes;                             /* drawn for each picture, for an inpainting model */
	long caption_variants;                  /* number to encode of a caption that varies from visit to visit */
	const char *seed;                       /* of the variants */
};

int encode_run(const struct encode_settings *s, const char *const *inputs, size_t count, struct error *e) MUST_CHECK;

#endif
