/* Stable Diffusion XL: two text encoders, both read before their last layer; the second one's pooled vector;
 * the picture's sizes. */
#include "family.h"

/* Of the released one; inputs: channels of the UNet's. */
#define SIZES(row, inputs) { \
	.family = &row, \
	.text = { \
		{ .vocabulary = 49408, .length = 77, .width = 768, .layers = 12, .heads = 12, .mlp = 3072, \
		  .activation = ACT_QUICK_GELU, .norm_eps = 1e-5f, .projection = 0, .eos = 49407 }, \
		{ .vocabulary = 49408, .length = 77, .width = 1280, .layers = 32, .heads = 20, .mlp = 5120, \
		  .activation = ACT_GELU, .norm_eps = 1e-5f, .projection = 1280, .eos = 49407 }, \
	}, \
	.unet = { \
		.in_channels = inputs, .out_channels = 4, .levels = 3, .channels = { 320, 640, 1280 }, \
		.heads = { 5, 10, 20 }, .depth = { 0, 2, 10 }, .mid_depth = 10, .attention = { false, true, true }, \
		.resnets = 2, .groups = 32, .norm_eps = 1e-5f, .context = 2048, .time_ids_dim = 256, .pooled = 1280, \
	}, \
	.vae = { \
		.in_channels = 3, .latent_channels = 4, .levels = 4, .channels = { 128, 256, 512, 512 }, .resnets = 2, \
		.groups = 32, .norm_eps = 1e-6f, .scaling_factor = 0.13025f, .factor = 8, .quant_conv = true, \
		.post_quant_conv = true, \
	}, \
	.schedule = { .train_steps = 1000, .beta_start = 0.00085, .beta_end = 0.012, .scaled_linear = true, \
		      .steps_offset = 1 }, \
}

static const struct model_config sdxl = SIZES(family_sdxl, 4), sdxl_inpaint = SIZES(family_sdxl_inpaint, 9);

static bool is_like(const struct model_config *c, bool inpaints, bool flows)
{
	return c->unet.pooled > 0 && !c->unet.conv_projection && unet_inpaints(&c->unet) == inpaints &&
	       (c->schedule.prediction == PREDICTION_FLOW) == flows;
}

static bool is_sdxl(const struct model_config *c)               { return is_like(c, false, false); }
static bool is_sdxl_flow(const struct model_config *c)          { return is_like(c, false, true); }
static bool is_sdxl_inpaint(const struct model_config *c)
{
	return is_like(c, true, c->schedule.prediction == PREDICTION_FLOW);
}

/* What all kinds of SDXL have in common. */
#define SDXL \
	.parts = PART(COMPONENT_UNET) | PART(COMPONENT_TE1) | PART(COMPONENT_TE2) | PART(COMPONENT_VAE), \
	.released = "SDXL base", .one = "an SDXL", \
	.lacks = { "not SDXL base (the SDXL refiner has one text encoder only)", \
		   "not SDXL base (Stable Diffusion 1 and 2 have one text encoder only)" }, \
	.texts = 2, .text = { { .skip = 2 }, { .skip = 2, .pooled = true, .pads_with_zero = true } }, \
	.conditions = 1 << CONDITION_CONTEXT | 1 << CONDITION_POOLED | 1 << CONDITION_TIME_IDS, .side = 1024, \
	.prefix = { "model.diffusion_model.", "conditioner.embedders.0.transformer.", \
		    "conditioner.embedders.1.model.", [COMPONENT_VAE] = "first_stage_model." }, \
	.hub = "stabilityai/stable-diffusion-xl-base-1.0", \
	.blocks = { .total = 23, .first = 1, .down = 9, .mid = 3, .up = 9, \
		    .are = "embeddings, 9 input, 3 middle, 9 output, out" }, \
	.dialect = "kohya", .base_model_version = "sdxl_base_v1-0", .v2 = "False", \
	.architecture = "stable-diffusion-xl-v1-base/lora", \
	.implementation = "https://github.com/Stability-AI/generative-models"

const struct family family_sdxl = { .name = "sdxl", .title = "SDXL", .is = is_sdxl, .usual = &sdxl,
				    .sign = { "label_emb.0.0", 2 }, SDXL };

/* Nothing but the objective is another: adapters and latents have SDXL's names. */
const struct family family_sdxl_flow = {
	.name = "sdxl-flow", .title = "SDXL of rectified flow", .is = is_sdxl_flow, .usual = &sdxl, SDXL
};

/* Mask and masked picture's latent beside the noisy one: nine channels. */
const struct family family_sdxl_inpaint = {
	.name = "sdxl-inpaint", .title = "SDXL inpainting", .is = is_sdxl_inpaint, .usual = &sdxl_inpaint,
	.sign = { "input_blocks.0.0", 4, 9 }, .inpaints = true, SDXL
};
