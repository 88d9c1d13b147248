/* Telling which model an adapter is for. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../model/family.h"
#include "keys.h"
#include "made_for.h"

/* ---- names ---- */

#define SDXL "SDXL"
#define SD1 "Stable Diffusion 1.5"
#define SD2 "Stable Diffusion 2"

/* Words of which some tensor's name has all, with underscores for dots.  The first row that fits decides. */
static const struct { const char *model, *word[2]; } signs[] = {
	{ "Chroma", { "distilled_guidance_layer" } },
	{ "Hunyuan Video", { "double_blocks", "img_mlp_fc" } },
	{ "Hunyuan Video", { "individual_token_refiner" } },
	{ "Flux", { "double_blocks" } },
	{ "Flux", { "single_blocks" } },
	{ "Flux", { "single_transformer_blocks" } },
	{ "AuraFlow", { "joint_transformer_blocks" } },
	{ "Qwen-Image", { "transformer_blocks", "txt_mlp" } },
	{ "Qwen-Image", { "transformer_blocks", "img_mod" } },
	{ "Stable Diffusion 3", { "joint_blocks" } },
	{ "Stable Diffusion 3", { "transformer_blocks", "attn_add_" } },
	{ "LTX-Video", { "patchify_proj" } },
	{ "PixArt", { "adaln_single" } },
	{ "Wan", { "blocks", "cross_attn_k" } },
	{ "Lumina 2 or Z-Image", { "noise_refiner" } },
	{ "Lumina 2 or Z-Image", { "layers", "attention_qkv" } },
	{ "Lumina 2 or Z-Image", { "layers", "adaLN_modulation" } },
	{ "Stable Cascade", { "lora_prior_" } },
	{ "Stable Diffusion 3 or Flux", { "text_encoder_3_" } },
	{ "Stable Diffusion 3 or Flux", { "lora_te3_" } },
	{ "Stable Diffusion 3 or Flux", { "t5xxl" } },
};

/* What the blocks of a UNet tell, where widths do not: only SDXL's transformers are deeper than one, only the others
 * have some in the first level, and only SDXL has a second text encoder. */
static const struct { const char *model, *word; } of_unets[] = {
	{ SDXL, "attentions_0_transformer_blocks_1_" }, { SDXL, "_1_transformer_blocks_1_" },
	{ SD1, "down_blocks_0_attentions" }, { SD1, "input_blocks_1_1_" },
	{ SDXL, "lora_te2_" }, { SDXL, "text_encoder_2_" }, { SDXL, "clip_g_" },
};

/* All names, each behind a line's end, with underscores for dots. */
static char *all_names(const struct safetensors *f)
{
	struct buffer all = { 0 };

	for (size_t i = 0; i < f->count; i++)
		buffer_addf(&all, "\n%s", f->tensor[i].name);
	buffer_adds(&all, "\n");
	for (size_t i = 0; i < all.len; i++)
		if (all.data[i] == '.')
			all.data[i] = '_';
	return buffer_steal(&all);
}

/* Does a line have both words?  The second one may be NULL. */
static bool line_has(const char *names, const char *const word[2])
{
	for (const char *at = names, *end; (at = strstr(at, word[0])); at = end) {
		const char *line = at;

		while (*line != '\n')
			line--;
		end = strchr(at, '\n');
		if (!word[1] || memmem(line, end - line, word[1], strlen(word[1])))
			return true;
	}
	return false;
}

/* ---- shapes ---- */

/* Inputs of the layer to which the tensor's module belongs; 0: its tensors do not tell. */
static int inputs_of(const struct safetensors *f, const struct safetensor *t)
{
	const struct safetensor *part[BRANCH_PARTS] = { NULL };
	const struct adapter_kind *kind = NULL;
	struct key_part p;
	const size_t n = adapter_key_split(t->name, &p);
	struct weight w;

	for (size_t i = 0; i < f->count; i++) {
		const struct safetensor *x = &f->tensor[i];

		if (adapter_key_split(x->name, &p) != n || strncmp(x->name, t->name, n) || !p.kind ||
		    (kind && kind != p.kind))
			continue;
		kind = p.kind;
		part[p.part] = x;
	}
	return kind && kind->missing(part) < 0 && kind->guess(&w, part) ? w.in : 0;
}

/* What a cross-attention reads of a token.  Each of the first few tensors is looked up among all: a file from outside
 * may have any number of them. */
static const char *by_width(const struct safetensors *f)
{
	static const struct { int width; const char *model; } widths[] = {
		{ 2048, SDXL }, { 768, SD1 }, { 1024, SD2 }, { 1280, "the SDXL refiner" },
	};
	enum { MOST = 16 };
	int in = 0, tries = 0;

	for (size_t i = 0; i < f->count && !in && tries < MOST; i++) {
		const char *name = f->tensor[i].name, *at = strstr(name, "attn2");

		if (!at || !(strstr(at, "to_k") || strstr(at, "to_v")))
			continue;
		in = inputs_of(f, &f->tensor[i]);
		tries++;
	}
	for (size_t i = 0; in && i < sizeof(widths) / sizeof(*widths); i++)
		if (in == widths[i].width)
			return widths[i].model;
	return NULL;
}

/* ---- metadata ---- */

static const char *by_metadata(const struct safetensors *f)
{
	static const struct { const char *key, *start, *model; } says[] = {
		{ "ss_base_model_version", "sdxl", SDXL }, { "ss_base_model_version", "sd_v1", SD1 },
		{ "ss_base_model_version", "sd_v2", SD2 }, { "ss_base_model_version", "sd3", "Stable Diffusion 3" },
		{ "ss_base_model_version", "flux", "Flux" },
		{ "modelspec.architecture", "stable-diffusion-xl", SDXL },
		{ "modelspec.architecture", "stable-diffusion-v1", SD1 },
		{ "modelspec.architecture", "stable-diffusion-v2", SD2 },
		{ "modelspec.architecture", "stable-diffusion-3", "Stable Diffusion 3" },
		{ "modelspec.architecture", "flux", "Flux" },
	};

	for (size_t i = 0; i < sizeof(says) / sizeof(*says); i++) {
		const char *value = safetensors_metadata(f, says[i].key);

		if (value && !strncmp(value, says[i].start, strlen(says[i].start)))
			return says[i].model;
	}
	return NULL;
}

const char *adapter_made_for(const struct safetensors *f)
{
	char *names = all_names(f);
	const char *model = NULL;

	for (size_t i = 0; i < sizeof(signs) / sizeof(*signs) && !model; i++)
		if (line_has(names, signs[i].word))
			model = signs[i].model;
	if (!model)
		model = by_width(f);
	for (size_t i = 0; i < sizeof(of_unets) / sizeof(*of_unets) && !model; i++)
		if (strstr(names, of_unets[i].word))
			model = of_unets[i].model;
	free(names);
	return model ? model : by_metadata(f);
}

bool adapter_is_foreign(const struct safetensors *f)
{
	const char *model = adapter_made_for(f);
	const struct family *x;

	for (size_t i = 0; model && (x = family_at(i)); i++)
		if (!strncmp(x->title, model, strlen(model)))
			return false;
	for (size_t i = 0; !model && i < f->count; i++)
		if (adapter_key_is_known(f->tensor[i].name))
			return false;
	return true;
}
