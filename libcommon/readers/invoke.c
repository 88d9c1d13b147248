/* InvokeAI's reader, of August 2026. */
#include <stdlib.h>
#include <string.h>
#include "internal.h"

/* After its translation, which is one of diffusers' names for the single file's blocks. */
static const struct naming names[] = {
	{ "lora_unet_", COMPONENT_UNET, BY_DIFFUSERS, '_' },
	{ "lora_te1_", COMPONENT_TE1, BY_DIFFUSERS, '_' },
	{ "lora_te2_", COMPONENT_TE2, BY_DIFFUSERS, '_' },
	{ 0 },
};
static const struct naming single_file[] = {
	{ "lora_unet_", COMPONENT_UNET, BY_SGM, '_' },
	{ 0 },
};
/* Stable Diffusion 1.5's are taken as they are. */
static const struct naming names_of_one_encoder[] = {
	{ "lora_unet_", COMPONENT_UNET, BY_DIFFUSERS, '_' },
	{ "lora_te_", COMPONENT_TE1, BY_DIFFUSERS, '_' },
	{ 0 },
};

static const struct rule rules[] = {
	{ { "dora_scale" }, { "lora_up.weight", "lora_down.weight" }, { "alpha" },
	  RULE_LAYERS | RULE_FACTORS | RULE_LENGTHS_IN },
	{ { "lora_up.weight" }, { "lora_down.weight" }, { "lora_mid.weight", "alpha" }, RULE_FACTORS },
	{ { "hada_w1_a" }, { "hada_w1_b", "hada_w2_a", "hada_w2_b" }, { "hada_t1", "hada_t2", "alpha" }, 0 },
	{ { "lokr_w1", "lokr_w2" }, { NULL }, { "alpha" }, 0 },
	{ { "lokr_w1", "lokr_w2_a" }, { "lokr_w2_b" }, { "lokr_t2", "alpha" }, 0 },
	{ { "lokr_w1_a", "lokr_w2" }, { "lokr_w1_b" }, { "alpha" }, 0 },
	{ { "lokr_w1_a", "lokr_w2_a" }, { "lokr_w1_b", "lokr_w2_b" }, { "lokr_t2", "alpha" }, 0 },
	{ { "diff" }, { NULL }, { "diff_b" }, RULE_WHOLE },
	{ { "on_input" }, { "weight" }, { NULL }, RULE_LINEAR },
	{ { "w_norm" }, { NULL }, { "b_norm" }, RULE_WHOLE },
	{ { "diff", "diff_b" }, { NULL }, { NULL }, RULE_BIAS },
	{ { "w_norm", "b_norm" }, { NULL }, { NULL }, RULE_BIAS },
	{ { 0 } },
};

static const struct judge judge = {
	.rules = rules,
	.nothing_fits = "a module's tensors make up no kind that it knows",
	.misfit_refuses = true,
	.misfit = "a module's sizes do not fit, which ends the load",
};

static bool starts(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* Another tensor of the same module, by what ends its name. */
static const struct safetensor *part_of(const struct safetensors *f, const char *name, const char *part)
{
	char *full = xprintf("%.*s.%s", (int)strcspn(name, "."), name, part);
	const struct safetensor *t = safetensors_find(f, full);

	free(full);
	return t;
}

/* It makes a module of every name, and only then looks for the layer. */
static void check_kind(struct attempt *a, const struct safetensor *t)
{
	for (const struct rule *r = rules; r->signs[0]; r++)
		if (part_of(a->f->file, t->name, r->signs[0]))
			return;
	attempt_refuse(a, judge.nothing_fits, t->name);
}

/* All names of the UNet are the single file's, or none is. */
struct blocks_seen { size_t single, other; };

static long find(struct attempt *a, const struct names *known, const struct names *single, const struct safetensor *t,
		 struct blocks_seen *seen)
{
	const size_t stem = strcspn(t->name, ".");
	const bool unet = starts(t->name, "lora_unet_");
	long place = unet ? names_find(single, t->name, stem) : -1;

	if (!unet && !starts(t->name, "lora_te1_") && !starts(t->name, "lora_te2_"))
		attempt_refuse(a, "a name does not begin with lora_unet_, lora_te1_ or lora_te2_", t->name);
	*(place >= 0 ? &seen->single : &seen->other) += unet;
	return place >= 0 ? place : names_find(known, t->name, stem);
}

/* ---- which model it takes the file for ---- */

static int64_t inputs_of_lokr(const struct safetensors *f, const char *name)
{
	const struct safetensor *w1 = part_of(f, name, "lokr_w1"), *w2 = part_of(f, name, "lokr_w2");

	return w1 && w2 && w1->dims > 1 && w2->dims > 1 ? w1->shape[1] * w2->shape[1] : 0;
}

/* What the module reads, by one of its tensors; of a LoKr by whole factors alone.  0: it does not tell. */
static int64_t inputs_of(const struct safetensors *f, const struct safetensor *t)
{
	const char *part = t->name + strcspn(t->name, ".");

	if (!strcmp(part, ".lora_down.weight") || !strcmp(part, ".hada_w1_b") || !strcmp(part, ".hada_w2_b") ||
	    !strcmp(part, ".diff"))
		return t->dims > 1 ? t->shape[1] : 0;
	if (strstr(part, "lokr_"))
		return inputs_of_lokr(f, t->name);
	return !strcmp(part, ".weight") && !starts(t->name, "lora_unet_") && t->dims ? t->shape[0] : 0;
}

/* The width of a token's state, by the first tensor that shows it; of the two text encoders, the sum.  Each tensor of a
 * text encoder's attention says it anew, and most say nothing, so that the sum hardly ever comes about. */
static int64_t token_width(const struct safetensors *f)
{
	int64_t width = 0, te[2] = { 0 };

	for (size_t i = 0; i < f->count && !width; i++) {
		const struct safetensor *t = &f->tensor[i];
		const bool unet = starts(t->name, "lora_unet_");

		if (unet && (strstr(t->name, "_attn2_to_k.") || strstr(t->name, "_attn2_to_v.") ||
			     strstr(t->name, "time_emb_proj.lora_down")))
			width = inputs_of(f, t);
		else if (starts(t->name, "lora_te_") && strstr(t->name, "_self_attn_"))
			width = inputs_of(f, t);
		else if (starts(t->name, "lora_te1_") && strstr(t->name, "_self_attn_"))
			te[0] = inputs_of(f, t);
		else if (starts(t->name, "lora_te2_") && strstr(t->name, "_self_attn_"))
			te[1] = inputs_of(f, t);
		if (!width && te[0] && te[1])
			width = te[0] + te[1];
	}
	return width;
}

/* Only SDXL's transformers have a third block. */
static bool is_deep(const struct safetensors *f)
{
	static const char blocks[] = "_transformer_blocks_";

	for (size_t i = 0; i < f->count; i++) {
		const char *at = starts(f->tensor[i].name, "lora_unet_") ? strstr(f->tensor[i].name, blocks) : NULL;

		if (at && atoi(at + sizeof(blocks) - 1) >= 2)
			return true;
	}
	return false;
}

/* Its import wants to know the model; of sizes that no released one has, a person's word has to do. */
static void check_import(struct attempt *a)
{
	const int64_t width = a->f->released ? token_width(a->f->file) : 0;

	if (a->f->released && width != 2048 && width != 1280 && (width || !is_deep(a->f->file)))
		attempt_refuse(a, "its import does not recognise the file as SDXL's", NULL);
}

static void read_invoke(struct attempt *a)
{
	const bool one_encoder = !(a->f->family->parts & PART(COMPONENT_TE2));
	struct names *known = names_new(a->f, one_encoder ? names_of_one_encoder : names);
	struct names *single = names_new(a->f, single_file);
	struct blocks_seen seen = { 0 };

	for (size_t i = 0; i < a->f->file->count; i++) {
		const struct safetensor *t = &a->f->file->tensor[i];
		const size_t stem = strcspn(t->name, ".");
		long place;

		if (starts(t->name, "bundle_emb"))
			continue;
		place = one_encoder ? names_find(known, t->name, stem) : find(a, known, single, t, &seen);
		if (place >= 0 && t->name[stem]) {
			bundle_add(&a->bundle[place], t->name + stem + 1, t);
		} else if (place < 0) {
			check_kind(a, t);
			attempt_reason(a, "names that it does not know", t->name);
		}
	}
	if (seen.single && seen.other)
		attempt_refuse(a, "names of both the single file's and diffusers' blocks, or one that is neither",
			       NULL);
	check_import(a);
	judge_places(a, &judge);
	attempt_refuse_foreign(a);
	names_free(known);
	names_free(single);
}

const struct reader reader_invoke = { "invoke", "InvokeAI", .read = read_invoke };
