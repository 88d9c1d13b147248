/*
 * run.h - lora-sample: from prompts to pictures, and to a sheet and latents.
 */
#ifndef SAMPLE_RUN_H
#define SAMPLE_RUN_H

#include "../config/options.h"

struct sample_settings {
	const char *model, *model_config, *vae, *device;
	struct text_list loras;                 /* FILE or FILE:WEIGHT */
	struct text_list texts;                 /* what to paint, unless .prompts says it */
	const char *prompts, *negative, *output, *grid, *sampler, *seed, *rng, *noise, *save_latents;
	const char *image, *mask;
	long width, height, steps, count, clip_skip;
	double cfg, flow_shift, strength;
	bool compare, each, zero_negative, plain, flow_model;
};

int sample_run(const struct sample_settings *s, struct error *e) MUST_CHECK;

#endif
