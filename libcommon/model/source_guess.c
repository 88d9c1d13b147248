/* Telling by tensor names which other architecture a file holds. */
#include <string.h>
#include "source_internal.h"

/* Names of tensors that only one architecture has; the first row that matches decides. */
static const struct { const char *start, *what; } signs[] = {
	{ "conditioner.embedders.0.model.", "the SDXL refiner" },
	{ "cond_stage_model.model.", "Stable Diffusion 2" },
	{ "cond_stage_model.", "Stable Diffusion 1" },
	{ "model.diffusion_model.double_blocks.", "Flux" },
	{ "double_blocks.", "Flux" },
	{ "model.diffusion_model.joint_blocks.", "Stable Diffusion 3" },
	{ "joint_blocks.", "Stable Diffusion 3" },
	{ "lora_unet_", "a LoRA adapter, no model" },
	{ "lora_te", "a LoRA adapter, no model" },
	{ "control_model.", "a ControlNet" },
	{ "input_hint_block.", "a ControlNet" },
	{ "controlnet_cond_embedding.", "a ControlNet" },
	{ "transformer_blocks.", "a transformer out of a diffusers folder (Flux, SD3 or the like)" },
	{ "down_blocks.", "a UNet out of a diffusers folder; name the folder above it" },
	{ "input_blocks.", "a UNet without text encoders and VAE" },
	{ "encoder.down", "a VAE alone, which --vae takes" },
	{ "text_model.", "a text encoder out of a diffusers folder; name the folder above it" },
};

static bool has_start(const struct safetensors *s, const char *start)
{
	size_t n = strlen(start);

	for (size_t i = 0; i < s->count; i++)
		if (strncmp(s->tensor[i].name, start, n) == 0)
			return true;
	return false;
}

static int input_channels(const struct safetensors *s)
{
	const struct safetensor *t = safetensors_find(s, "model.diffusion_model.input_blocks.0.0.weight");

	return t && t->dims == 4 ? (int)t->shape[1] : 0;
}

const char *source_guess(const struct safetensors *s)
{
	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++)
		if (has_start(s, signs[i].start))
			return signs[i].what;
	if (input_channels(s) == 9)
		return "an inpainting model (9 input channels)";
	if (input_channels(s) == 8)
		return "an editing model (8 input channels)";
	return NULL;
}
