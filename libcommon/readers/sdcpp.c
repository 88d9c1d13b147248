/* stable-diffusion.cpp's names, of August 2026: which of a file's it turns into those of its own tensors.  What it
 * then does with them was not measured. */
#include <string.h>
#include "internal.h"

/* Its dots are underscores but for those of a list of words, which lacks these. */
#define UNPROTECTED_SGM { "time_embedding.", "add_embedding." }
#define UNPROTECTED { "time_embedding.", "add_embedding.", "conv_in", "conv_out", "conv_norm_out" }
static const struct naming names[] = {
	{ "lora_unet_", COMPONENT_UNET, BY_SGM, '_', .without = UNPROTECTED_SGM },
	{ "diffusion_model.", COMPONENT_UNET, BY_SGM, '.', .without = UNPROTECTED_SGM },
	{ "model.diffusion_model.", COMPONENT_UNET, BY_SGM, '.', .without = UNPROTECTED_SGM },
	{ "unet.", COMPONENT_UNET, BY_SGM, '.', .without = UNPROTECTED_SGM },
	{ "lora_unet_", COMPONENT_UNET, BY_DIFFUSERS, '_', .without = UNPROTECTED },
	{ "lycoris_", COMPONENT_UNET, BY_DIFFUSERS, '_', .without = UNPROTECTED },
	{ "unet.", COMPONENT_UNET, BY_DIFFUSERS, '.', .without = UNPROTECTED },
	{ "", COMPONENT_UNET, BY_DIFFUSERS, '.', .without = UNPROTECTED },
	{ "lora_te_", COMPONENT_TE1, BY_DIFFUSERS, '_', TEXT_LAYERS },
	{ "lora_te1_", COMPONENT_TE1, BY_DIFFUSERS, '_', TEXT_LAYERS },
	{ "lora_te2_", COMPONENT_TE2, BY_DIFFUSERS, '_', TEXT_LAYERS },
	{ 0 },
};

static void read_sdcpp(struct attempt *a)
{
	struct names *known = names_new(a->f, names);

	for (size_t i = 0; i < a->f->file->count; i++) {
		const struct safetensor *t = &a->f->file->tensor[i];
		size_t stem = 0;
		const enum part_role role = part_role(t->name, &stem);
		const long place = role == ROLE_NONE ? -1 : names_find(known, t->name, stem);

		if (place < 0)
			attempt_left(a, "names that it does not know", t);
		else
			a->got[place] |= role == ROLE_BIAS ? MEANT_BIAS : MEANT_WEIGHT;
	}
	names_free(known);
}

const struct reader reader_sdcpp = { "sdcpp", "stable-diffusion.cpp", .names_only = true, .read = read_sdcpp };
