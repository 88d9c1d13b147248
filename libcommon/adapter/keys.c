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

/* How a dialect writes a layer: prefix, then its name with `separator` for the dots.  NULL: says nothing of that
 * component.  bare: text encoders without "text_model.", as transformers 5 names them.  The first row that fits names
 * the dialect. */
struct dialect {
	const char *name, *unet, *text[TEXT_ENCODERS];
	enum blocks blocks;
	char separator;
	bool bare;
};

static const struct dialect dialects[] = {
	{ "kohya", "lora_unet_", { "lora_te1_", "lora_te2_" }, SGM, '_', false },
	{ "kohya, diffusers' blocks", "lora_unet_", { "lora_te_" }, DIFFUSERS, '_', false },
	{ "kohya, OFT", "oft_unet_", { NULL }, SGM, '_', false },
	{ "kohya, diffusers' blocks, OFT", "oft_unet_", { NULL }, DIFFUSERS, '_', false },
	{ "lycoris", "lycoris_", { NULL }, DIFFUSERS, '_', false },
	{ "comfy", "diffusion_model.", { NULL }, SGM, '.', false },
	{ "comfy, model's prefix", "model.diffusion_model.", { NULL }, SGM, '.', false },
	{ "diffusers", "unet.", { "text_encoder.", "text_encoder_2." }, DIFFUSERS, '.', false },
	{ "diffusers, transformers 5", NULL, { "text_encoder.", "text_encoder_2." }, DIFFUSERS, '.', true },
	{ "peft, whole pipeline", "base_model.model.unet.", { "base_model.model.text_encoder.",
	  "base_model.model.text_encoder_2." }, DIFFUSERS, '.', false },
	{ "peft", "base_model.model.", { NULL }, DIFFUSERS, '.', false },
	{ "diffusers, no prefix", "", { NULL }, DIFFUSERS, '.', false },
};
#define DIALECTS (sizeof(dialects) / sizeof(dialects[0]))

/* What ends the names of an adapter's tensors beside the kinds' own endings.  The first row that fits decides, so
 * longer ones stand first. */
static const struct suffix { const char *text; int part; const char *method; } suffixes[] = {
	{ "lora_magnitude_vector.default.weight", PART_LENGTHS, "DoRA" },
	{ "lora_magnitude_vector.weight", PART_LENGTHS, "DoRA" },
	{ "lora_magnitude_vector", PART_LENGTHS, "DoRA" },
	{ "magnitude", PART_LENGTHS, "DoRA" },
	{ LENGTHS_SUFFIX, PART_LENGTHS, "DoRA" },
	{ "on_input", PART_OTHER, "IA3" },
	{ "lambda_layer", PART_OTHER, "T-LoRA by singular values (lambda_layer)" },
	{ "q_layer.weight", PART_OTHER, "T-LoRA by singular values (lambda_layer)" },
	{ "p_layer.weight", PART_OTHER, "T-LoRA by singular values (lambda_layer)" },
	{ "oft_diag", PART_OTHER, "OFT" },
	{ "diff_b", PART_OTHER, "full difference" },
	{ "diff", PART_OTHER, "full difference" },
	{ "w_norm", PART_OTHER, "norm training" },
	{ "b_norm", PART_OTHER, "norm training" },
	{ "clip_l", PART_OTHER, "bundled embedding" },
	{ "clip_g", PART_OTHER, "bundled embedding" },
	{ "alpha", PART_ALPHA, "LoRA" },
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

/* NULL: the dialect has no name for it. */
static char *name_in(const struct dialect *d, const struct layer *l, const struct unet_config *c)
{
	static const char text_model[] = "text_model.";
	const char *prefix = prefix_of(d, l->component), *name = l->name;
	char *sgm = NULL, *full;

	if (!prefix)
		return NULL;
	if (l->component == COMPONENT_UNET && d->blocks == SGM) {
		sgm = sgm_from_diffusers(name, c);
		if (!sgm)
			return NULL;
		name = sgm;
	}
	if (d->bare && strncmp(name, text_model, sizeof(text_model) - 1) == 0)
		name += sizeof(text_model) - 1;
	full = xprintf("%s%s", prefix, name);
	for (char *p = full + strlen(prefix); *p; p++)
		if (*p == '.')
			*p = d->separator;
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

/* Length of what stands in front of ".suffix"; 0: it does not end so */
static size_t before(const char *name, const char *suffix)
{
	const size_t n = strlen(name), k = strlen(suffix);

	return n > k + 1 && name[n - k - 1] == '.' && !strcmp(name + n - k, suffix) ? n - k - 1 : 0;
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

size_t adapter_key_split(const char *tensor_name, struct key_part *part)
{
	size_t n = 0;

	for (size_t i = 0; adapter_kinds[i] && !n; i++)
		n = split_by_kind(tensor_name, adapter_kinds[i], part);
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]) && !n; i++) {
		n = before(tensor_name, suffixes[i].text);
		*part = (struct key_part){ suffixes[i].part, NULL, suffixes[i].method };
	}
	if (!n)
		*part = (struct key_part){ .part = PART_OTHER };
	return n;
}

long key_index_find(const struct key_index *k, const char *tensor_name, struct key_part *part, const char **dialect)
{
	size_t n = adapter_key_split(tensor_name, part);
	long i = n ? map_get(k->map, tensor_name, n) : -1;

	*dialect = i < 0 ? NULL : k->entry[i].dialect->name;
	return i < 0 ? -1 : k->entry[i].layer;
}

static bool starts(const char *name, const char *prefix)
{
	return prefix && *prefix && strncmp(name, prefix, strlen(prefix)) == 0;
}

int adapter_key_component(const char *tensor_name, const char **dialect)
{
	static const char *const blocks[] = { "down_blocks", "up_blocks", "mid_block" };
	const struct dialect *d = dialects;

	for (; d < dialects + DIALECTS; d++) {
		*dialect = d->name;
		for (int i = 0; i < TEXT_ENCODERS; i++)
			if (starts(tensor_name, d->text[i]))
				return COMPONENT_TE1 + i;
		if (!starts(tensor_name, d->unet))
			continue;
		for (int i = 0; i < 3; i++)
			if (d->blocks == SGM && starts(tensor_name + strlen(d->unet), blocks[i]))
				*dialect = dialects[1].name;
		return COMPONENT_UNET;
	}
	for (int i = 0; i < 3; i++)
		if (starts(tensor_name, blocks[i]))
			return COMPONENT_UNET;
	return -1;
}

/* A whole pipeline's names keep the model's in PEFT's eyes, "unet.down_blocks...."; its patterns fit the end of a
 * name. */
char *adapter_key_path(const char *module_name)
{
	static const char peft[] = "base_model.model.";
	const struct dialect *d = dialects;

	if (starts(module_name, peft))
		return xstrdup(module_name + sizeof(peft) - 1);
	for (; d < dialects + DIALECTS; d++)
		for (int i = 0; i < ADAPTED; i++) {
			const char *prefix = prefix_of(d, adapted_part(i));

			if (starts(module_name, prefix))
				return d->separator == '.' && d->blocks == DIFFUSERS
					       ? xstrdup(module_name + strlen(prefix))
					       : NULL;
		}
	return strchr(module_name, '.') ? xstrdup(module_name) : NULL;
}
