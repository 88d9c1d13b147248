/* A1111's reader, at version 1.10 of its built-in extension for LoRA. */
#include <string.h>
#include "internal.h"

/* It keeps the single file's names with underscores.  diffusers' blocks are translated as those of Stable Diffusion 1,
 * which puts the upsampler of the deepest level elsewhere. */
static const struct naming names[] = {
	{ "lora_unet_", COMPONENT_UNET, BY_SGM, '_' },
	{ "diffusion_model_", COMPONENT_UNET, BY_SGM, '_' },
	{ "oft_unet_", COMPONENT_UNET, BY_SGM, '_' },
	{ "lora_unet_", COMPONENT_UNET, BY_DIFFUSERS, '_',
	  .without = { "up_blocks.0.upsamplers.", "conv_norm_out", "add_embedding." } },
	{ "lora_te1_", COMPONENT_TE1, BY_DIFFUSERS, '_' },
	{ "lora_te2_", COMPONENT_TE2, BY_DIFFUSERS, '_', TEXT_LAYERS },
	{ 0 },
};

/* Stable Diffusion 1.5. */
static const struct naming names_of_one_encoder[] = {
	{ "lora_unet_", COMPONENT_UNET, BY_DIFFUSERS, '_', .without = { "conv_norm_out" } },
	{ "lora_unet_", COMPONENT_UNET, BY_SGM, '_' },
	{ "lora_te_", COMPONENT_TE1, BY_DIFFUSERS, '_' },
	{ 0 },
};

static const struct rule rules[] = {
	{ { "lora_up.weight", "lora_down.weight" }, { NULL }, { "lora_mid.weight", "alpha", "scale", "dora_scale" },
	  RULE_LAYERS | RULE_FACTORS | RULE_LENGTHS_IN },
	{ { "lora_A.weight", "lora_B.weight" }, { NULL }, { NULL }, RULE_LAYERS | RULE_FACTORS },
	{ { "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b" }, { 0 },
	  { "hada_t1", "hada_t2", "alpha", "scale", "dora_scale" }, RULE_LENGTHS_IN | RULE_ROUNDS },
	{ { "weight" }, { "on_input" }, { "alpha" }, RULE_LINEAR },
	{ { "lokr_w1", "lokr_w2" }, { NULL }, { "alpha", "scale", "dora_scale" }, RULE_LENGTHS_IN },
	{ { "lokr_w1", "lokr_w2_a", "lokr_w2_b" }, { NULL }, { "lokr_t2", "alpha", "scale", "dora_scale" },
	  RULE_LENGTHS_IN },
	{ { "lokr_w1_a", "lokr_w1_b", "lokr_w2" }, { NULL }, { "alpha", "scale", "dora_scale" },
	  RULE_LENGTHS_IN },
	{ { "lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b" }, { 0 },
	  { "lokr_t2", "alpha", "scale", "dora_scale" }, RULE_LENGTHS_IN },
	{ { "diff" }, { NULL }, { "diff_b" }, RULE_WHOLE },
	{ { "w_norm", "b_norm" }, { NULL }, { NULL }, RULE_WHOLE },
	{ { "a1.weight", "a2.weight", "alpha", "b1.weight", "b2.weight" }, { NULL }, { NULL }, 0 },
	{ { "oft_blocks" }, { NULL }, { "alpha", "rescale" }, 0 },
	{ { "oft_diag" }, { NULL }, { "alpha", "rescale" }, 0 },
	{ { "diff", "diff_b" }, { NULL }, { NULL }, RULE_BIAS },
	{ { "w_norm", "b_norm" }, { NULL }, { NULL }, RULE_BIAS },
	{ { 0 } },
};

static const struct judge judge = {
	.rules = rules,
	.nothing_fits = "a module's tensors make up no kind that it knows",
	.misfit = "the sizes do not fit, which it logs and passes over",
};

/* The second text encoder's attention keeps q, k and v in one matrix there, and takes all four modules or none. */
static void drop_part_attention(struct attempt *a)
{
	static const char *const four[] = { "q_proj", "k_proj", "v_proj", "out_proj" };

	for (size_t i = 0; i < a->f->count; i++) {
		const struct place *p = &a->f->place[i];
		const char *self = p->component == COMPONENT_TE2 ? strstr(p->name, ".self_attn.") : NULL;
		size_t head = self ? (size_t)(self - p->name) + strlen(".self_attn.") : 0, found = 0;

		if (!self || !a->bundle[i].count)
			continue;
		for (size_t k = 0; k < a->f->count && found < 4; k++) {
			const struct place *q = &a->f->place[k];

			if (q->component != COMPONENT_TE2 || !a->bundle[k].count || strncmp(q->name, p->name, head))
				continue;
			for (int n = 0; n < 4; n++)
				found += strcmp(q->name + head, four[n]) == 0;
		}
		if (found < 4) {
			a->got[i] = 0;
			attempt_reason(a, "text encoder 2's attention wants q, k, v and out together",
				       a->bundle[i].item[0].tensor->name);
		}
	}
}

static void read_a1111(struct attempt *a)
{
	const bool one_encoder = !(a->f->family->parts & PART(COMPONENT_TE2));
	const struct naming *rows = one_encoder ? names_of_one_encoder : names;
	struct names *known = names_new(a->f, rows), *containers = names_of_containers(a->f, rows);

	for (size_t i = 0; i < a->f->file->count; i++) {
		const struct safetensor *t = &a->f->file->tensor[i];
		const size_t stem = strcspn(t->name, ".");
		const long place = names_find(known, t->name, stem);

		if (place >= 0)
			bundle_add(&a->bundle[place], t->name[stem] ? t->name + stem + 1 : "", t);
		else if (names_find(containers, t->name, stem) >= 0 ||
			 (stem == strlen("diffusion_model") && strncmp(t->name, "diffusion_model", stem) == 0))
			attempt_refuse(a, "what stands before the first dot is no layer but a block of them", t->name);
		else
			attempt_left(a, "names that it does not know", t);
	}
	judge_places(a, &judge);
	drop_part_attention(a);
	names_free(known);
	names_free(containers);
}

const struct reader reader_a1111 = { "a1111", "A1111", .left_is_partial = true, .read = read_a1111 };
