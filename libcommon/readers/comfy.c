/* ComfyUI's reader, of October 2025. */
#include <stdio.h>
#include <string.h>
#include "internal.h"

/* "...attn1.to_out.0" is "...attn1.processor.to_out" there: its names of diffusers' attention are those of before
 * PEFT. */
static const char *processor(const char *name, char *room, size_t bytes)
{
	const char *to = strstr(name, ".to_");
	size_t n = strlen(name);

	if (!to)
		return name;
	if (n > 2 && strcmp(name + n - 2, ".0") == 0)
		n -= 2;
	snprintf(room, bytes, "%.*s.processor%.*s", (int)(to - name), name, (int)(n - (size_t)(to - name)), to);
	return room;
}

static const struct naming names[] = {
	{ "lora_unet_", COMPONENT_UNET, BY_SGM, '_' },
	{ "diffusion_model.", COMPONENT_UNET, BY_SGM, '.' },
	{ "lora_unet_", COMPONENT_UNET, BY_DIFFUSERS, '_' },
	{ "lycoris_", COMPONENT_UNET, BY_DIFFUSERS, '_' },
	{ "unet.", COMPONENT_UNET, BY_DIFFUSERS, '.', .change = processor },
	{ "", COMPONENT_UNET, BY_DIFFUSERS, '.', .change = processor },
	{ "text_encoders.clip_l.transformer.", COMPONENT_TE1, BY_DIFFUSERS, '.' },
	{ "text_encoders.clip_g.transformer.", COMPONENT_TE2, BY_DIFFUSERS, '.' },
	{ "lora_te1_", COMPONENT_TE1, BY_DIFFUSERS, '_', TEXT_LAYERS },
	{ "lora_te_", COMPONENT_TE1, BY_DIFFUSERS, '_', TEXT_LAYERS },
	{ "text_encoder.", COMPONENT_TE1, BY_DIFFUSERS, '.', TEXT_LAYERS },
	{ "lora_te2_", COMPONENT_TE2, BY_DIFFUSERS, '_', TEXT_LAYERS },
	{ "text_encoder_2.", COMPONENT_TE2, BY_DIFFUSERS, '.', TEXT_LAYERS },
	/* text_projection */
	{ "lora_te2_", COMPONENT_TE2, BY_DIFFUSERS, '_', .without = { "text_model." } },
	{ 0 },
};

/* Each way to write a LoRA's two factors, under the one name that the rules have. */
static const struct { const char *end, *part; } factors[] = {
	{ ".lora_up.weight", "lora_up.weight" },
	{ ".lora_down.weight", "lora_down.weight" },
	{ "_lora.up.weight", "lora_up.weight" },
	{ "_lora.down.weight", "lora_down.weight" },
	{ ".lora_B.weight", "lora_up.weight" },
	{ ".lora_A.weight", "lora_down.weight" },
	{ ".lora.up.weight", "lora_up.weight" },
	{ ".lora.down.weight", "lora_down.weight" },
	{ ".lora_B", "lora_up.weight" },
	{ ".lora_A", "lora_down.weight" },
	{ ".lora_linear_layer.up.weight", "lora_up.weight" },
	{ ".lora_linear_layer.down.weight", "lora_down.weight" },
	{ ".lora_B.default.weight", "lora_up.weight" },
	{ ".lora_A.default.weight", "lora_down.weight" },
};

#define DORA "alpha", "dora_scale"
static const struct rule rules[] = {
	{ { "lora_up.weight" }, { "lora_down.weight" }, { "lora_mid.weight", "reshape_weight", DORA },
	  RULE_FACTORS | RULE_LENGTHS_IN },
	{ { "hada_w1_a" }, { "hada_w1_b", "hada_w2_a", "hada_w2_b" }, { "hada_t1", "hada_t2", DORA },
	  RULE_LENGTHS_IN },
	/* the product with a middle factor is a view that PyTorch's Kronecker product does not take */
	{ { "lokr_t2", "lokr_w2_a" }, { NULL }, { "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2_b", DORA },
	  RULE_FAILS },
	{ { "lokr_w1", "lokr_w2" }, { NULL }, { DORA }, RULE_LENGTHS_IN },
	{ { "lokr_w1", "lokr_w2_a" }, { "lokr_w2_b" }, { DORA }, RULE_LENGTHS_IN },
	{ { "lokr_w1_a", "lokr_w2" }, { "lokr_w1_b" }, { DORA }, RULE_LENGTHS_IN },
	{ { "lokr_w1_a", "lokr_w2_a" }, { "lokr_w1_b", "lokr_w2_b" }, { DORA }, RULE_LENGTHS_IN },
	{ { "a1.weight" }, { "a2.weight", "b1.weight", "b2.weight" }, { DORA }, RULE_LENGTHS_IN },
	/* it reads a rescale and does not use it, unless in BOFT: rules of a file come from here, shapes from
	 * is_boft() */
	{ { "oft_blocks" }, { NULL }, { "alpha" }, RULE_LIMIT },
	{ { "boft_blocks" }, { NULL }, { "alpha", "rescale" }, RULE_LIMIT },
	{ { "w_norm" }, { NULL }, { "b_norm" }, RULE_WHOLE },
	{ { "diff" }, { NULL }, { NULL }, RULE_WHOLE },
	{ { "set_weight" }, { NULL }, { NULL }, 0 },
	{ { "w_norm", "b_norm" }, { NULL }, { NULL }, RULE_BIAS },
	{ { "diff_b" }, { NULL }, { NULL }, RULE_BIAS },
	{ { 0 } },
};

static const struct judge judge = {
	.rules = rules,
	.misfit = "an error in the log, module by module",
};

/* A part under the name that the rules have. */
static const char *part_of(const struct safetensor *t, size_t stem)
{
	const char *name = t->name;

	for (size_t i = 0; i < sizeof(factors) / sizeof(factors[0]); i++)
		if (strcmp(name + stem, factors[i].end) == 0)
			return factors[i].part;
	return strcmp(name + stem, ".oft_blocks") == 0 && t->dims == 4 ? "boft_blocks" : name + stem + 1;
}

/* Would any rule take the tensor?  What none does is what it logs as a key that is not loaded. */
static bool is_known(const char *part)
{
	for (const struct rule *r = rules; r->signs[0]; r++)
		for (int i = 0; i < RULE_PARTS; i++)
			if ((r->signs[i] && !strcmp(r->signs[i], part)) ||
			    (r->needs[i] && !strcmp(r->needs[i], part)) || (r->uses[i] && !strcmp(r->uses[i], part)))
				return true;
	return false;
}

static void read_comfy(struct attempt *a)
{
	struct names *known = names_new(a->f, names);

	for (size_t i = 0; i < a->f->file->count; i++) {
		const struct safetensor *t = &a->f->file->tensor[i];
		size_t stem = 0;
		const enum part_role role = part_role(t->name, &stem);
		const long place = role == ROLE_NONE ? -1 : names_find(known, t->name, stem);

		if (place < 0) {
			attempt_left(a, "names that it does not know", t);
			continue;
		}
		bundle_add(&a->bundle[place], part_of(t, stem), t);
		if (!is_known(part_of(t, stem)))
			attempt_left(a, "tensors of a kind that it does not know", t);
	}
	judge_places(a, &judge);
	names_free(known);
}

const struct reader reader_comfy = { "comfy", "ComfyUI", .left_is_partial = true, .read = read_comfy };
