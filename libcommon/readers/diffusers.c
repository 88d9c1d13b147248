/* diffusers' reader: load_lora_weights() of version 0.42 with PEFT 0.21, of an SDXL or Stable Diffusion pipeline. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/text.h"
#include "internal.h"

static bool starts(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* It throws these away before it looks. */
static bool is_skipped(const struct safetensor *t)
{
	return strstr(t->name, "dora_scale") != NULL;
}

static bool all_begin_like_kohyas(const struct safetensors *f)
{
	for (size_t i = 0; i < f->count; i++)
		if (!is_skipped(&f->tensor[i]) && !starts(f->tensor[i].name, "lora_unet_") &&
		    !starts(f->tensor[i].name, "lora_te_") && !starts(f->tensor[i].name, "lora_te1_") &&
		    !starts(f->tensor[i].name, "lora_te2_"))
			return false;
	return true;
}

/* ---- kohya's names ---- */

static const struct naming kohyas[] = {
	{ "lora_unet_", COMPONENT_UNET, BY_DIFFUSERS, '_', .without = { "add_embedding." } },
	{ "lora_unet_", COMPONENT_UNET, BY_SGM, '_' },
	{ "lora_te_", COMPONENT_TE1, BY_DIFFUSERS, '_' },
	{ "lora_te1_", COMPONENT_TE1, BY_DIFFUSERS, '_' },
	{ "lora_te2_", COMPONENT_TE2, BY_DIFFUSERS, '_' },
	{ 0 },
};

static bool has_blocks_of(const char *name, const char *const *words)
{
	for (; *words; words++)
		if (strstr(name, *words))
			return true;
	return false;
}

static const char *const single_file_blocks[] = { "input_blocks", "middle_block", "output_blocks", NULL };
static const char *const diffusers_blocks[] = { "down_blocks", "mid_block", "up_blocks", NULL };

/* Where a file has both, it drops the single file's. */
static bool mixes(const struct safetensors *f)
{
	bool single = false, own = false;

	for (size_t i = 0; i < f->count; i++) {
		const bool is = has_blocks_of(f->tensor[i].name, single_file_blocks);

		single |= is;
		own |= !is && has_blocks_of(f->tensor[i].name, diffusers_blocks);
	}
	return single && own;
}

static bool is_attention(const struct place *p)
{
	return p->component == COMPONENT_UNET && strstr(p->name, "transformer_blocks.") && strstr(p->name, ".to_");
}

static double scale_of(const struct attempt *a, size_t place, double alpha)
{
	const struct safetensor *down = bundle_find(&a->bundle[place], "lora_down.weight");

	return isnan(alpha) ? 1 : alpha / (double)down->shape[0];
}

static double own_alpha(const struct attempt *a, size_t place)
{
	return part_number(a->f->file, bundle_find(&a->bundle[place], "alpha"));
}

/* The alpha that most modules of the component have, the first of several; NaN: none has one. */
static double common_alpha(const struct attempt *a, enum component c)
{
	struct { double alpha; size_t count; } seen[64];
	size_t n = 0, most = 0;

	for (size_t i = 0; i < a->f->count; i++) {
		const double alpha = a->f->place[i].component == c && a->got[i] ? own_alpha(a, i) : NAN;
		size_t k = 0;

		if (isnan(alpha))
			continue;
		while (k < n && seen[k].alpha != alpha)
			k++;
		if (k == sizeof(seen) / sizeof(seen[0]))
			continue;
		if (k == n) {
			seen[n].alpha = alpha;
			seen[n++].count = 0;
		}
		seen[k].count++;
	}
	for (size_t k = 1; k < n; k++)
		if (seen[k].count > seen[most].count)
			most = k;
	return n ? seen[most].alpha : NAN;
}

/* It tells PEFT the alphas that differ from the commonest by patterns.  Those of the UNet's attention and of the text
 * encoders fit no module's name, so that these run with the commonest; so do modules without an alpha. */
static void judge_alphas(struct attempt *a)
{
	for (int k = 0; k < ADAPTED; k++) {
		const enum component c = adapted_part(k);
		const double common = common_alpha(a, c);

		for (size_t i = 0; i < a->f->count && !isnan(common); i++) {
			const struct place *p = &a->f->place[i];
			const double own = own_alpha(a, i);
			double is;

			if (p->component != c || !(a->got[i] & MEANT_WEIGHT))
				continue;
			is = isnan(own) || c != COMPONENT_UNET || is_attention(p) ? common : own;
			if (fabs(scale_of(a, i, is) - scale_of(a, i, own)) <= 0.01 * fabs(scale_of(a, i, own)))
				continue;
			a->got[i] |= GOT_WRONG;
			attempt_reason(a, "scaled by another alpha, the commonest of the file",
				       a->bundle[i].item[0].tensor->name);
		}
	}
}

/* Of a text encoder it tells the kind of names by "to_out_lora" or a module of the MLP: attention without either is an
 * error, and without to_out dropped. */
static void judge_text(struct attempt *a)
{
	for (enum component c = COMPONENT_TE1; c < COMPONENT_TE1 + TEXT_ENCODERS; c++) {
		bool out = false, mlp = false, other = false;

		for (size_t i = 0; i < a->f->count; i++) {
			const struct place *p = &a->f->place[i];

			if (p->component != c || !a->got[i])
				continue;
			out |= text_ends(p->name, ".out_proj");
			mlp |= strstr(p->name, ".mlp.") != NULL;
			other = true;
		}
		if (other && !out && !mlp)
			attempt_refuse(a, "a text encoder's attention without its out_proj", NULL);
		for (size_t i = 0; i < a->f->count && mlp && !out; i++) {
			if (a->f->place[i].component != c || !strstr(a->f->place[i].name, ".self_attn."))
				continue;
			if (a->got[i])
				attempt_reason(a, "a text encoder's attention without its out_proj",
					       a->bundle[i].item[0].tensor->name);
			a->got[i] = 0;
		}
	}
}

static const struct rule kohya_rules[] = {
	{ { "lora_down.weight" }, { "lora_up.weight" }, { "alpha" }, RULE_LAYERS | RULE_FACTORS },
	{ { 0 } },
};
#define MISFIT "a factor has another shape than the layer's own"
static const struct judge kohya_judge = {
	.rules = kohya_rules, .nothing_fits = "tensors of another kind than LoRA's", .misfit_refuses = true,
	.misfit = MISFIT,
};

/* PEFT's layers have the model's shapes: a kernel that is flattened is none. */
static void judge_dims(struct attempt *a, const char *down)
{
	for (size_t i = 0; i < a->f->count; i++) {
		const struct safetensor *t = a->bundle[i].count ? bundle_find(&a->bundle[i], down) : NULL;

		if (t && a->f->place[i].kind == PLACE_CONV && t->dims != a->f->place[i].dims)
			attempt_refuse(a, MISFIT, t->name);
		else if (t && a->f->place[i].kind == PLACE_LINEAR && t->dims != a->f->place[i].dims)
			attempt_refuse(a, MISFIT, t->name);
	}
}

/* false: it is an error to have it */
static bool is_kohyas_part(const char *part)
{
	return !strcmp(part, "lora_down.weight") || !strcmp(part, "lora_up.weight") || !strcmp(part, "alpha");
}

static void read_kohyas(struct attempt *a)
{
	struct names *known = names_new(a->f, kohyas);
	const struct safetensors *f = a->f->file;
	const bool drops = mixes(f);

	for (size_t i = 0; i < f->count; i++) {
		const struct safetensor *t = &f->tensor[i];
		const size_t stem = strcspn(t->name, ".");
		const long place = names_find(known, t->name, stem);

		if (is_skipped(t))
			continue;
		if (a->f->has_metadata && place >= 0 && text_ends(t->name, ".alpha"))
			attempt_refuse(a, "alphas both as tensors and in lora_adapter_metadata", t->name);
		if (drops && has_blocks_of(t->name, single_file_blocks))
			attempt_reason(a, "of a file with both kinds of block names, the single file's", t->name);
		else if (!t->name[stem] || !is_kohyas_part(t->name + stem + 1))
			attempt_refuse(a, kohya_judge.nothing_fits, t->name);
		else if (place >= 0)
			bundle_add(&a->bundle[place], t->name + stem + 1, t);
		else
			attempt_reason(a, "names that it does not know", t->name);
	}
	judge_places(a, &kohya_judge);
	judge_dims(a, "lora_down.weight");
	judge_text(a);
	judge_alphas(a);
	names_free(known);
}

/* ---- its own names ---- */

static const struct naming own[] = {
	{ "unet.", COMPONENT_UNET, BY_DIFFUSERS, '.' },
	{ "text_encoder.", COMPONENT_TE1, BY_DIFFUSERS, '.' },
	{ "text_encoder_2.", COMPONENT_TE2, BY_DIFFUSERS, '.' },
	{ 0 },
};

/* A component's tensors as its older names would be written by PEFT.  of: the first to contain it counts. */
struct renaming { const char *from, *to; };
static const struct renaming unet_renamings[] = {
	{ ".to_out_lora.up", ".to_out.0.lora_B" },   { ".to_out_lora.down", ".to_out.0.lora_A" },
	{ ".to_q_lora.down", ".to_q.lora_A" },       { ".to_q_lora.up", ".to_q.lora_B" },
	{ ".to_k_lora.down", ".to_k.lora_A" },       { ".to_k_lora.up", ".to_k.lora_B" },
	{ ".to_v_lora.down", ".to_v.lora_A" },       { ".to_v_lora.up", ".to_v.lora_B" },
	{ ".lora.up", ".lora_B" },                   { ".lora.down", ".lora_A" },
	{ ".to_out.lora_magnitude_vector", ".to_out.0.lora_magnitude_vector" },
	{ 0 },
};
static const struct renaming text_renamings[] = {
	{ ".to_q_lora.up", ".q_proj.lora_B" },       { ".to_q_lora.down", ".q_proj.lora_A" },
	{ ".to_k_lora.up", ".k_proj.lora_B" },       { ".to_k_lora.down", ".k_proj.lora_A" },
	{ ".to_v_lora.up", ".v_proj.lora_B" },       { ".to_v_lora.down", ".v_proj.lora_A" },
	{ ".to_out_lora.up", ".out_proj.lora_B" },   { ".to_out_lora.down", ".out_proj.lora_A" },
	{ ".lora_linear_layer.up", ".lora_B" },      { ".lora_linear_layer.down", ".lora_A" },
	{ "text_projection.lora.down", "text_projection.lora_A" },
	{ "text_projection.lora.up", "text_projection.lora_B" },
	{ 0 },
};

/* One replacement of a word in a name, malloced. */
static char *replaced(char *name, const char *from, const char *to)
{
	const char *at = strstr(name, from);
	char *changed;

	if (!at)
		return name;
	changed = xprintf("%.*s%s%s", (int)(at - name), name, to, at + strlen(from));
	free(name);
	return changed;
}

static char *renamed(const char *name, const struct renaming *list)
{
	char *changed = replaced(xstrdup(name), ".processor.", ".");

	for (; list->from; list++)
		if (strstr(changed, list->from))
			return replaced(changed, list->from, list->to);
	return changed;
}

struct component_names { const char *prefix; enum component component; };
static const struct component_names components[] = {
	{ "unet.", COMPONENT_UNET }, { "text_encoder.", COMPONENT_TE1 }, { "text_encoder_2.", COMPONENT_TE2 },
};

static const struct safetensor *first_of(const struct safetensors *f, const char *prefix)
{
	for (size_t i = 0; i < f->count; i++)
		if (starts(f->tensor[i].name, prefix) && !is_skipped(&f->tensor[i]))
			return &f->tensor[i];
	return NULL;
}

static bool any_of(const struct safetensors *f, const char *prefix, const char *word)
{
	for (size_t i = 0; i < f->count; i++)
		if (starts(f->tensor[i].name, prefix) && strstr(f->tensor[i].name, word))
			return true;
	return false;
}

/* How it knows whose names a text encoder's are; the last clause: only attention's factors get the name that it looks
 * for next. */
static void check_text_names(struct attempt *a, const char *prefix)
{
	const struct safetensors *f = a->f->file;
	const bool old = any_of(f, prefix, "to_out_lora"), peft = any_of(f, prefix, ".lora_A.weight");

	if (!old && !peft && !any_of(f, prefix, "lora_linear_layer"))
		attempt_refuse(a, "a text encoder's names of no writer that it knows", first_of(f, prefix)->name);
	if (!old && peft && !any_of(f, prefix, "_proj.lora_A"))
		attempt_refuse(a, "a text encoder without attention, in PEFT's names", first_of(f, prefix)->name);
}

static void judge_magnitude(struct attempt *a, const struct safetensor *t, size_t place, const char *part)
{
	const struct place *p = &a->f->place[place];

	if (p->component != COMPONENT_UNET && !text_ends(part, ".weight")) {
		a->got[place] |= GOT_WRONG;
		attempt_reason(a, "a text encoder's lengths whose names do not end in .weight are dropped", t->name);
	} else if (p->kind == PLACE_CONV && !(t->dims == 4 && t->shape[0] == 1)) {
		attempt_refuse(a, "a convolution's lengths that are not [1,out,1,1]", t->name);
	}
}

static const struct rule own_rules[] = {
	{ { "lora_B.weight", "lora_A.weight" }, { NULL }, { "lora_magnitude_vector", "lora_magnitude_vector.weight" },
	  RULE_LAYERS | RULE_FACTORS },
	{ { "lora_B.bias" }, { NULL }, { NULL }, RULE_BIAS },
	{ { 0 } },
};
static const struct judge own_judge = { .rules = own_rules, .misfit_refuses = true, .misfit = MISFIT };

static bool is_list(const struct names *known, const char *name, size_t length)
{
	char *first = xprintf("%.*s.0", (int)length, name);
	const long place = names_find(known, first, strlen(first));

	free(first);
	return place >= 0;
}

/* name: the tensor's, as PEFT sees it.  *found counts those of layers that the model has. */
static void put_own(struct attempt *a, const struct names *known, const char *name, const struct safetensor *t,
		    size_t *found)
{
	const char *lora = strstr(name, ".lora");
	const long place = lora ? names_find(known, name, (size_t)(lora - name)) : -1;
	static const char *const parts[] = { "lora_A.weight", "lora_B.weight", "lora_B.bias",
					     "lora_magnitude_vector.weight", "lora_magnitude_vector" };

	for (size_t i = 0; place >= 0 && i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strcmp(lora + 1, parts[i]) == 0) {
			bundle_add(&a->bundle[place], parts[i], t);
			*found += 1;
			return;
		}
	*found += place >= 0;
	if (place < 0 && lora && is_list(known, name, (size_t)(lora - name)))
		attempt_refuse(a, "to_out without .0 is a list of layers, no layer", t->name);
	attempt_reason(a, "names that it does not know", t->name);
}

static void read_component(struct attempt *a, const struct names *known, const struct component_names *c)
{
	const struct safetensors *f = a->f->file;
	const struct safetensor *first = first_of(f, c->prefix);
	const bool unet = c->component == COMPONENT_UNET;
	bool rename, ranks = false;
	size_t found = 0;

	if (!first)
		return;
	if (!unet)
		check_text_names(a, c->prefix);
	rename = unet ? !strstr(first->name, "lora_A") : !any_of(f, c->prefix, ".lora_A.weight");
	for (size_t i = 0; i < f->count; i++) {
		const struct safetensor *t = &f->tensor[i];
		char *name;

		if (!starts(t->name, c->prefix) || is_skipped(t))
			continue;
		name = rename ? renamed(t->name, unet ? unet_renamings : text_renamings) : xstrdup(t->name);
		ranks |= strstr(name, "lora_B") && t->dims > 1;
		put_own(a, known, name, t, &found);
		free(name);
	}
	if (!ranks)
		attempt_refuse(a, "no factor's name that it takes a rank from", first->name);
	else if (!found)
		attempt_refuse(a, "no module of the model has such a name", first->name);
}

/* A factor that is not there keeps the value that PEFT begins with: B is 0, A is random. */
static void judge_orphans(struct attempt *a)
{
	for (size_t i = 0; i < a->f->count; i++) {
		const struct bundle *b = &a->bundle[i];

		if (!b->count || bundle_find(b, "lora_A.weight") || !bundle_find(b, "lora_B.weight"))
			continue;
		a->got[i] |= MEANT_WEIGHT | GOT_WRONG;
		attempt_reason(a, "the inner factor that is missing is random numbers",
			       bundle_find(b, "lora_B.weight")->name);
	}
}

static void read_own(struct attempt *a)
{
	struct names *known = names_new(a->f, own);
	const struct safetensors *f = a->f->file;

	for (size_t i = 0; i < f->count; i++)
		if (!is_skipped(&f->tensor[i]) && !strstr(f->tensor[i].name, "lora"))
			attempt_refuse(a, "a name without \"lora\" in it", f->tensor[i].name);
	for (size_t i = 0; i < sizeof(components) / sizeof(components[0]); i++)
		if (a->f->family->parts & PART(components[i].component))
			read_component(a, known, &components[i]);
	judge_places(a, &own_judge);
	judge_dims(a, "lora_A.weight");
	judge_orphans(a);
	for (size_t i = 0; i < a->f->count; i++)
		for (size_t k = 0; k < a->bundle[i].count; k++)
			if (part_role_alone(a->bundle[i].item[k].part) == ROLE_DORA)
				judge_magnitude(a, a->bundle[i].item[k].tensor, i, a->bundle[i].item[k].part);
	names_free(known);
}

static void read_diffusers(struct attempt *a)
{
	if (all_begin_like_kohyas(a->f->file))
		read_kohyas(a);
	else
		read_own(a);
	diffusers_judge_metadata(a);
	attempt_refuse_foreign(a);
}

const struct reader reader_diffusers = { "diffusers", "diffusers", .knows_metadata = true, .read = read_diffusers };
