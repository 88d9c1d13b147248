/* The table of key dialects, and finding a layer by a tensor's name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/map.h"
#include "../base/memory.h"
#include "../model/family.h"
#include "../model/single_file_names.h"
#include "keys.h"
#include "lengths.h"

enum blocks { SGM, DIFFUSERS };

/* What a dialect writes for a part of diffusers' or SGM's name.  All pairs apply, in their order; the first tells the
 * dialect. */
struct spelling { const char *from, *to; };

/* transformers 5 names text encoders so. */
static const struct spelling bare[] = { { "text_model.", "" }, { 0 } };

/* diffusers' loaders for attention processors (utils/state_dict_utils.py: UNET_TO_DIFFUSERS, DIFFUSERS_OLD_TO_PEFT). */
#define OLD_TEXT { ".self_attn.q_proj", ".self_attn.to_q" }, { ".self_attn.k_proj", ".self_attn.to_k" }, \
	{ ".self_attn.v_proj", ".self_attn.to_v" }, { ".self_attn.out_proj", ".self_attn.to_out" }, { 0 }
static const struct spelling processors[] = { { ".to_", ".processor.to_" }, { ".to_out.0", ".to_out" }, OLD_TEXT };
static const struct spelling old_attention[] = { { ".to_out.0", ".to_out" }, OLD_TEXT };

/* How a dialect writes a layer: prefix, then its name with `separator` for the dots.  NULL: says nothing of that
 * component.  spelling: other words, up to a pair of NULLs; NULL: none.  The first row that fits names the dialect. */
struct dialect {
	const char *name, *unet, *text[TEXT_ENCODERS];
	enum blocks blocks;
	char separator;
	const struct spelling *spelling;
};

#define TEXTS(prefix) { prefix "text_encoder.", prefix "text_encoder_2." }
static const struct dialect dialects[] = {
	{ "kohya", "lora_unet_", { "lora_te1_", "lora_te2_" }, SGM, '_', NULL },
	{ "kohya, diffusers' blocks", "lora_unet_", { "lora_te_" }, DIFFUSERS, '_', NULL },
	{ "kohya, OFT", "oft_unet_", { NULL }, SGM, '_', NULL },
	{ "kohya, diffusers' blocks, OFT", "oft_unet_", { NULL }, DIFFUSERS, '_', NULL },
	{ "lycoris", "lycoris_", { NULL }, DIFFUSERS, '_', NULL },
	{ "comfy", "diffusion_model.", { "text_encoders.clip_l.transformer.", "text_encoders.clip_g.transformer." },
	  SGM, '.', NULL },
	{ "comfy, model's prefix", "model.diffusion_model.", { "clip_l.transformer.", "clip_g.transformer." }, SGM,
	  '.', NULL },
	{ "omi", "unet.", { "clip_l.", "clip_g." }, SGM, '.', NULL },
	{ "diffusers", "unet.", TEXTS(""), DIFFUSERS, '.', NULL },
	{ "diffusers, transformers 5", NULL, TEXTS(""), DIFFUSERS, '.', bare },
	{ "diffusers, processors", "unet.", TEXTS(""), DIFFUSERS, '.', processors },
	{ "diffusers, old attention", "unet.", TEXTS(""), DIFFUSERS, '.', old_attention },
	{ "peft, whole pipeline", "base_model.model.unet.", TEXTS("base_model.model."), DIFFUSERS, '.', NULL },
	{ "peft, whole pipeline, transformers 5", NULL, TEXTS("base_model.model."), DIFFUSERS, '.', bare },
	{ "peft, of each model", "unet.base_model.model.", { "text_encoder.base_model.model.",
	  "text_encoder_2.base_model.model." }, DIFFUSERS, '.', NULL },
	{ "peft", "base_model.model.", { NULL }, DIFFUSERS, '.', NULL },
	{ "peft, a text encoder", NULL, { "base_model.model." }, DIFFUSERS, '.', NULL },
	{ "diffusers, no prefix", "", { NULL }, DIFFUSERS, '.', NULL },
	{ "diffusers, processors, no prefix", "", { NULL }, DIFFUSERS, '.', processors },
	{ "diffusers, old attention, no prefix", "", { NULL }, DIFFUSERS, '.', old_attention },
};
#define DIALECTS (sizeof(dialects) / sizeof(dialects[0]))

/* What ends the names of an adapter's tensors beside the kinds' own endings.  The first row that fits decides, so
 * longer ones stand first. */
static const struct suffix { const char *text; int part; const char *method; bool of_outputs; } suffixes[] = {
	{ "lora_magnitude_vector.default.weight", PART_LENGTHS, "DoRA", true },
	{ "lora_magnitude_vector.weight", PART_LENGTHS, "DoRA", true },
	{ "lora_magnitude_vector", PART_LENGTHS, "DoRA", true },
	{ "magnitude", PART_LENGTHS, "DoRA", true },
	{ LENGTHS_SUFFIX, PART_LENGTHS, "DoRA" },
	{ "alpha", PART_ALPHA, "LoRA" },
	{ "diff_b", PART_BIAS, "full difference" },
	{ "b_norm", PART_BIAS, "full difference" },
	{ "lora_B.default.bias", PART_SCALED_BIAS, "LoRA" },
	{ "lora_B.bias", PART_SCALED_BIAS, "LoRA" },
	{ "lora_up.bias", PART_SCALED_BIAS, "LoRA" },
	{ "scale", PART_SCALE, "LoRA" },                /* A1111's network.py: calc_scale() */
	{ "scalar", PART_SCALAR, "LoRA" },              /* LyCORIS' use_scalar, in a whole state of it */
	{ "on_input", PART_OTHER, "IA3" },
	{ "ia3_l", PART_OTHER, "IA3" },
	{ "lambda_layer", PART_OTHER, "T-LoRA by singular values (lambda_layer)" },
	{ "q_layer.weight", PART_OTHER, "T-LoRA by singular values (lambda_layer)" },
	{ "p_layer.weight", PART_OTHER, "T-LoRA by singular values (lambda_layer)" },
	{ "oft_diag", PART_OTHER, "OFT" },
	{ "boft_R", PART_OTHER, "BOFT" },
	{ "a1.weight", PART_OTHER, "GLoRA" },
	{ "a2.weight", PART_OTHER, "GLoRA" },
	{ "b1.weight", PART_OTHER, "GLoRA" },
	{ "b2.weight", PART_OTHER, "GLoRA" },
	{ "lora_embedding_A", PART_OTHER, "a LoRA of token embeddings" },
	{ "lora_embedding_B", PART_OTHER, "a LoRA of token embeddings" },
	{ "set_weight", PART_OTHER, "a whole weight in place of the model's (set_weight)" },
	{ "bias_indices", PART_OTHER, "a sparse bias" },
	{ "bias_values", PART_OTHER, "a sparse bias" },
	{ "bias_size", PART_OTHER, "a sparse bias" },
	{ "scale_weight", PART_OTHER, "F8 with a scale of its own (scale_weight)" },
	{ "clip_l", PART_OTHER, "an embedding" },
	{ "clip_g", PART_OTHER, "an embedding" },
};

/* ---- block names ---- */

static const char weight[] = ".weight";

/* The names of tensors are single_file_names.c's; a layer's name is its weight's without the end. */
static char *cut_weight(const char *name)
{
	size_t n = strlen(name), w = sizeof(weight) - 1;

	return n > w && strcmp(name + n - w, weight) == 0 ? xstrndup(name, n - w) : NULL;
}

char *sgm_from_diffusers(const char *name, const struct unet_config *c)
{
	struct model_config m = { .unet = *c };
	struct single_name s;
	char *full = xprintf("%s%s", name, weight), *sgm = NULL;

	if (single_name_of(&m, COMPONENT_UNET, full, &s))
		sgm = cut_weight(s.name);
	free(full);
	return sgm;
}

char *diffusers_from_sgm(const char *name, const struct unet_config *c)
{
	struct model_config m = { .unet = *c };
	char *full = xprintf("%s%s", name, weight), found[TENSOR_NAME_ROOM], *diffusers = NULL;

	if (diffusers_name_of(&m, COMPONENT_UNET, full, 0, found))
		diffusers = cut_weight(found);
	free(full);
	return diffusers;
}

static int larger(int a, int b)
{
	return a > b ? a : b;
}

static void learn_down(struct unet_config *c, int level, int j, bool attention)
{
	if (level < 0 || level >= MAX_LEVELS)
		return;
	c->levels = larger(c->levels, level + 1);
	c->resnets = larger(c->resnets, j + 1);
	c->attention[level] |= attention;
}

/* Needs the number of levels: block i of the way up is level levels-1-i. */
static void learn_up(struct unet_config *c, int i, int j)
{
	int level = c->levels - 1 - i;

	c->resnets = larger(c->resnets, j);
	if (level >= 0)
		c->attention[level] = true;
}

void layers_config(const struct layer_list *layers, struct unet_config *c)
{
	int i, j;

	*c = (struct unet_config){ 0 };
	for (size_t k = 0; k < layers->count; k++) {
		const char *name = layers->layer[k].name;

		if (sscanf(name, "down_blocks.%d.resnets.%d.", &i, &j) == 2)
			learn_down(c, i, j, false);
		else if (sscanf(name, "down_blocks.%d.attentions.%d.", &i, &j) == 2)
			learn_down(c, i, j, true);
		else if (sscanf(name, "up_blocks.%d.", &i) == 1)
			learn_down(c, i, -1, false);
	}
	for (size_t k = 0; k < layers->count; k++)
		if (sscanf(layers->layer[k].name, "up_blocks.%d.attentions.%d.", &i, &j) == 2)
			learn_up(c, i, j);
}

/* ---- names of a layer ---- */

static const char *prefix_of(const struct dialect *d, enum component c)
{
	return c == COMPONENT_UNET ? d->unet : is_text_encoder(c) ? d->text[c - COMPONENT_TE1] : NULL;
}

/* The words of name that the dialect writes in its own way, replaced; malloced */
static char *spelled(const struct dialect *d, const char *name)
{
	char *text = xstrdup(name);

	for (const struct spelling *s = d->spelling; s && s->from; s++) {
		char *at = strstr(text, s->from), *other;

		if (!at)
			continue;
		other = xprintf("%.*s%s%s", (int)(at - text), text, s->to, at + strlen(s->from));
		free(text);
		text = other;
	}
	return text;
}

/* NULL: the dialect has no name for it. */
static char *name_in(const struct dialect *d, const struct layer *l, const struct unet_config *c)
{
	const char *prefix = prefix_of(d, l->component);
	char *sgm = NULL, *own, *full;

	if (!prefix)
		return NULL;
	if (l->component == COMPONENT_UNET && d->blocks == SGM && !(sgm = sgm_from_diffusers(l->name, c)))
		return NULL;
	own = spelled(d, sgm ? sgm : l->name);
	full = xprintf("%s%s", prefix, own);
	for (char *p = full + strlen(prefix); *p; p++)
		if (*p == '.')
			*p = d->separator;
	free(own);
	free(sgm);
	return full;
}

/* kohya's names for the layer's family. */
static const struct dialect *kohyas(const struct layer *l)
{
	const struct dialect *d = dialects;

	while (l->family && strcmp(d->name, l->family->dialect))
		if (++d == dialects + DIALECTS)
			die(EXIT_OTHER, "bug: %s writes in no known dialect", l->family->title);
	return d;
}

char *kohya_stem(const struct layer *l, const struct unet_config *c)
{
	char *stem = name_in(kohyas(l), l, c);

	if (!stem)
		die(EXIT_OTHER, "bug: layer '%s' has no name in kohya's dialect", l->name);
	return stem;
}

char *adapter_stem(const char *dialect, const struct layer *l, const struct unet_config *c)
{
	char *own = xprintf("%s, %s", kohyas(l)->name, dialect), *stem = NULL;

	for (const struct dialect *d = dialects; !stem && d < dialects + DIALECTS; d++)
		if (!strcmp(d->name, own) || !strcmp(d->name, dialect))
			stem = name_in(d, l, c);
	free(own);
	return stem ? stem : kohya_stem(l, c);
}

/* ---- the index ---- */

struct key_index {
	struct map *map;                /* name of a module to index in entry */
	struct entry { char *name; long layer; const struct dialect *dialect; } *entry;
	size_t count, capacity;
};

struct key_index *key_index_new(const struct layer_list *layers, const struct unet_config *c)
{
	struct key_index *k = xcalloc(1, sizeof(*k));

	k->map = map_new(layers->count * DIALECTS);
	for (size_t i = 0; i < layers->count; i++)
		for (size_t d = 0; d < DIALECTS; d++) {
			char *name = name_in(&dialects[d], &layers->layer[i], c);

			if (!name)
				continue;
			if (map_put(k->map, name, strlen(name), k->count) >= 0) {
				free(name);
				continue;
			}
			GROW(k->entry, k->count, k->capacity);
			k->entry[k->count++] = (struct entry){ name, i, &dialects[d] };
		}
	return k;
}

void key_index_free(struct key_index *k)
{
	if (!k)
		return;
	for (size_t i = 0; i < k->count; i++)
		free(k->entry[i].name);
	free(k->entry);
	map_free(k->map);
	free(k);
}

/* Length of what stands in front of the suffix, which has a dot before it where it does not begin with "_"; 0: the
 * name does not end so */
static size_t before(const char *name, const char *suffix)
{
	const bool dot = *suffix != '_';
	const size_t n = strlen(name), k = strlen(suffix) + dot;

	return n > k && (!dot || name[n - k] == '.') && !strcmp(name + n - k + dot, suffix) ? n - k : 0;
}

static size_t split_by_kind(const char *name, const struct adapter_kind *kind, struct key_part *part)
{
	size_t n = 0;

	for (const struct kind_suffix *s = kind->suffixes; s->text && !n; s++) {
		n = before(name, s->text);
		*part = (struct key_part){ s->part, kind, kind->name };
	}
	return n;
}

/* A1111 packs embeddings into an adapter's file: bundle_emb.NAME.string_to_param.*, bundle_emb.NAME.clip_g. */
static size_t split_embedding(const char *name, struct key_part *part)
{
	static const char bundle[] = "bundle_emb.";
	const char *end = strrchr(name, '.');
	const char *param = strstr(name, ".string_to_param.");

	if (strncmp(name, bundle, sizeof(bundle) - 1) || end < name + sizeof(bundle))
		return 0;
	*part = (struct key_part){ PART_EMBEDDING, NULL, "an embedding" };
	return (param ? param : end) - name;
}

size_t adapter_key_split(const char *tensor_name, struct key_part *part)
{
	size_t n = split_embedding(tensor_name, part);

	if (n)
		return n;
	for (size_t i = 0; adapter_kinds[i] && !n; i++)
		n = split_by_kind(tensor_name, adapter_kinds[i], part);
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]) && !n; i++) {
		n = before(tensor_name, suffixes[i].text);
		*part = (struct key_part){ suffixes[i].part, NULL, suffixes[i].method,
					   suffixes[i].of_outputs };
	}
	if (!n)
		*part = (struct key_part){ .part = PART_OTHER };
	return n;
}

/* diffusers' own conversion to kohya's names leaves the dot before a module's last word (utils/state_dict_utils.py,
 * convert_state_dict_to_kohya).  The prefix, "lora_unet_", has none: its words end the dialect's name for a component,
 * and adapter_key_component() knows no other. */
static long find_dotted(const struct key_index *k, const char *name, size_t n)
{
	static const char lora[] = "lora_";
	const size_t begins = sizeof(lora) - 1;
	char *flat;
	long i;

	if (strncmp(name, lora, begins) || name[begins + strcspn(name + begins, "_.")] != '_' || !memchr(name, '.', n))
		return -1;
	flat = xstrndup(name, n);
	for (char *p = flat; *p; p++)
		if (*p == '.')
			*p = '_';
	i = map_get(k->map, flat, n);
	free(flat);
	return i;
}

long key_index_find(const struct key_index *k, const char *tensor_name, struct key_part *part, const char **dialect)
{
	size_t n = adapter_key_split(tensor_name, part);
	long i = n ? map_get(k->map, tensor_name, n) : -1;

	if (n && i < 0)
		i = find_dotted(k, tensor_name, n);
	*dialect = i < 0 ? NULL : k->entry[i].dialect->name;
	return i < 0 ? -1 : k->entry[i].layer;
}

/* ---- what a name alone tells ---- */

static bool starts(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* What a part's layers begin with, the UNet's in one of two ways; dots may be underscores. */
static bool begins_as(const char *rest, enum component c, enum blocks blocks)
{
	enum { TEXT = DIFFUSERS + 1, MOST = 8 };
	static const char *const words[][MOST + 1] = {
		[SGM] = { "input", "middle", "output", "time_embed.", "time_embed_0", "time_embed_2", "label", "out" },
		[DIFFUSERS] = { "down_blocks", "mid_block", "up_blocks", "conv_in", "conv_out", "conv_norm_out",
				"time_embedding", "add_embedding" },
		[TEXT] = { "text_model", "encoder", "final_layer_norm", "text_projection" },
	};

	for (const char *const *w = words[c == COMPONENT_UNET ? blocks : TEXT]; *w; w++)
		if (starts(rest, *w))
			return true;
	return false;
}

/* Is the rest of a name behind the prefix written as this dialect would?  The words it replaces are then not there, but
 * inside those that it writes. */
static bool is_spelled(const struct dialect *d, const char *rest)
{
	const struct spelling *s = d->spelling;
	const char *from = s ? strstr(rest, s->from) : NULL, *to = s && *s->to ? strstr(rest, s->to) : NULL;

	if (!s || !*s->to)
		return !from;
	return to && (!from || (from > to && from < to + strlen(s->to)));
}

/* loose: whatever follows the prefix */
static bool is_in(const struct dialect *d, enum component c, const char *name, bool loose)
{
	const char *prefix = prefix_of(d, c), *rest;

	if (!prefix || !starts(name, prefix))
		return false;
	rest = name + strlen(prefix);
	return loose ? *prefix : begins_as(rest, c, d->blocks) && is_spelled(d, rest);
}

/* The row whose prefix is the longest, of equal ones the first with a spelling of its own, else the first; NULL:
 * none.  *component: the prefix's */
static const struct dialect *dialect_of(const char *name, bool loose, int *component)
{
	const struct dialect *best = NULL;
	size_t longest = 0;

	for (const struct dialect *d = dialects; d < dialects + DIALECTS; d++)
		for (int i = 0; i < ADAPTED; i++) {
			const enum component c = adapted_part(i);
			const size_t n = prefix_of(d, c) ? strlen(prefix_of(d, c)) : 0;

			if (!is_in(d, c, name, loose))
				continue;
			if (best && (n < longest || (n == longest && (best->spelling || !d->spelling))))
				continue;
			best = d;
			longest = n;
			*component = c;
		}
	return best;
}

bool adapter_key_is_known(const char *tensor_name)
{
	int component;

	return dialect_of(tensor_name, false, &component) != NULL;
}

int adapter_key_component(const char *tensor_name, const char **dialect)
{
	int component = -1;
	const struct dialect *d = dialect_of(tensor_name, false, &component);

	if (!d)
		d = dialect_of(tensor_name, true, &component);
	*dialect = d ? d->name : NULL;
	return component;
}

/* A whole pipeline's names keep the model's in PEFT's eyes, "unet.down_blocks...."; its patterns fit the end of a
 * name. */
char *adapter_key_path(const char *module_name)
{
	static const char peft[] = "base_model.model.";
	int component;
	const struct dialect *d;

	if (starts(module_name, peft))
		return xstrdup(module_name + sizeof(peft) - 1);
	d = dialect_of(module_name, false, &component);
	if (!d)
		d = dialect_of(module_name, true, &component);
	if (d)
		return d->separator == '.' && d->blocks == DIFFUSERS && !d->spelling
			       ? xstrdup(module_name + strlen(prefix_of(d, component)))
			       : NULL;
	return strchr(module_name, '.') ? xstrdup(module_name) : NULL;
}
