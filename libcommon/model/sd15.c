/* Stable Diffusion 1: one text encoder, read after its last layer through the final norm;
 * no sizes and no pooled vector. */
#include "family.h"

static const struct model_config sd15 = {
	.family = &family_sd15,
	.text = {
		{ .vocabulary = 49408, .length = 77, .width = 768, .layers = 12, .heads = 12, .mlp = 3072,
		  .activation = ACT_QUICK_GELU, .norm_eps = 1e-5f, .projection = 0, .eos = 49407 },
	},
	.unet = {
		.in_channels = 4, .out_channels = 4, .levels = 4, .channels = { 320, 640, 1280, 1280 },
		.heads = { 8, 8, 8, 8 }, .depth = { 1, 1, 1, 0 }, .mid_depth = 1,
		.attention = { true, true, true, false }, .conv_projection = true, .resnets = 2, .groups = 32,
		.norm_eps = 1e-5f, .context = 768,
	},
	.vae = {
		.in_channels = 3, .latent_channels = 4, .levels = 4, .channels = { 128, 256, 512, 512 }, .resnets = 2,
		.groups = 32, .norm_eps = 1e-6f, .scaling_factor = 0.18215f, .factor = 8, .quant_conv = true,
		.post_quant_conv = true,
	},
	.schedule = { .train_steps = 1000, .beta_start = 0.00085, .beta_end = 0.012, .scaled_linear = true,
		      .steps_offset = 1 },
};

static bool is_sd15(const struct model_config *c)
{
	return c->unet.pooled == 0 && c->unet.conv_projection;
}

const struct family family_sd15 = {
	.name = "sd15", .title = "Stable Diffusion 1.5", .is = is_sd15,
	.parts = PART(COMPONENT_UNET) | PART(COMPONENT_TE1) | PART(COMPONENT_VAE), .usual = &sd15,
	.sign = { "input_blocks.1.1.proj_in", 4 }, .released = "Stable Diffusion 1.5", .one = "a Stable Diffusion 1.5",
	.lacks = { "not a whole diffusers folder" }, .vae_scaling = 0.18215, .texts = 1,
	.text = { { .skip = 1, .norm = true } }, .clip_skip = true, .conditions = 1 << CONDITION_CONTEXT,
	.side = 512, .encoded_as = "sd15",
	.prefix = { "model.diffusion_model.", "cond_stage_model.transformer.", [COMPONENT_VAE] = "first_stage_model." },
	.hub = "stable-diffusion-v1-5/stable-diffusion-v1-5",
	.blocks = { .total = 25, .down = 12, .mid = 1, .up = 12, .are = "12 input, 1 middle, 12 output" },
	.dialect = "kohya, diffusers' blocks", .base_model_version = "sd_v1", .v2 = "False",
	.architecture = "stable-diffusion-v1/lora", .implementation = "diffusers",
};
