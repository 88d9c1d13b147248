/* An adapter file beside the modules of a model: what it is there to change, whichever program reads it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../adapter/adapter_scale.h"
#include "../adapter/keys.h"
#include "../adapter/made_for.h"
#include "../model/family.h"
#include "../model/source_tensors.h"
#include "internal.h"

static const char weight[] = ".weight";

static bool cut(const char *name, const char *end, size_t *n)
{
	const size_t k = strlen(end);

	*n = strlen(name);
	if (*n <= k || strcmp(name + *n - k, end))
		return false;
	*n -= k;
	return true;
}

/* ---- places ---- */

static enum place_kind kind_of(const struct known_tensor *t)
{
	return strstr(t->name, ".embeddings.") ? PLACE_TABLE
	       : t->dims == 1		       ? PLACE_NORM
	       : t->dims == 4		       ? PLACE_CONV
					       : PLACE_LINEAR;
}

static void add_place(struct readers_file *f, enum component c, const struct known_tensor *t)
{
	struct place *p;
	size_t n;

	if (!cut(t->name, weight, &n))
		return;
	GROW(f->place, f->count, f->capacity);
	p = &f->place[f->count++];
	*p = (struct place){ .component = c, .kind = kind_of(t), .name = xstrndup(t->name, n), .dims = t->dims };
	memcpy(p->shape, t->shape, sizeof(p->shape));
	p->sgm = c == COMPONENT_UNET ? sgm_from_diffusers(p->name, &f->unet) : NULL;
	p->layer = c != COMPONENT_UNET && (strstr(p->name, ".self_attn.") || strstr(p->name, ".mlp."));
}

static void add_places(struct readers_file *f, const struct model_config *model)
{
	for (int k = 0; k < ADAPTED; k++) {
		struct known_tensors known = { 0 };
		const enum component c = adapted_part(k);

		if (!(model->family->parts & PART(c)))
			continue;
		known_tensors(model, c, &known);
		for (size_t i = 0; i < known.count; i++)
			add_place(f, c, &known.tensor[i]);
		known_tensors_free(&known);
	}
}

/* ---- what the file means ---- */

static struct key_index *index_of(const struct readers_file *f, struct layer_list *list)
{
	for (size_t i = 0; i < f->count; i++)
		layer_add(list, f->place[i].component, LAYER_OTHER, f->place[i].name, NULL, NULL);
	for (size_t i = 0; i < list->count; i++)
		list->layer[i].family = f->family;
	return key_index_new(list, &f->unet);
}

/* By the module's name alone: with the ending that every dialect has. */
static long place_of(const struct key_index *k, const char *name, size_t stem)
{
	struct key_part part;
	const char *dialect;
	long i = key_index_find(k, name, &part, &dialect);

	if (i < 0) {
		char *plain = xprintf("%.*s.alpha", (int)stem, name);

		i = key_index_find(k, plain, &part, &dialect);
		free(plain);
	}
	return i;
}

/* the sides of a LoRA's factors are those of the place */
static bool has_side(const struct place *p, const struct safetensor *t)
{
	return t->dims > 1 && (t->shape[0] == p->shape[0] || t->shape[1] == p->shape[1]);
}

/* t: a LoRA's inner factor, whose rows are the rank */
static void learn_scale(struct readers_file *f, struct alpha_sources *sources, const struct safetensor *t, size_t stem,
			long place)
{
	char *alpha = xprintf("%.*s.alpha", (int)stem, t->name);
	const struct alpha_question q = { .name = t->name, .length = stem, .component = f->place[place].component,
					  .path = f->place[place].name, .rank = t->shape[0], .peft = "LORA" };
	struct module_alpha a = { 0 };
	struct error e = { 0 };

	if (!safetensors_find(f->file, alpha) && !alpha_of(sources, &q, &a, &e) &&
	    (a.origin == ALPHA_HEADER || a.origin == ALPHA_CONFIG) && t->shape[0]) {
		f->stated[place] = a.value / (double)t->shape[0];
		f->beside[place] = a.origin == ALPHA_CONFIG;
	}
	free(alpha);
}

static bool is_inner_factor(const struct safetensor *t)
{
	return t->dims > 1 &&
	       (strstr(t->name, "lora_A") || strstr(t->name, "lora_down") || strstr(t->name, "lora.down"));
}

static void collect(struct readers_file *f)
{
	struct alpha_sources *sources = alpha_sources_new(f->file);
	struct layer_list list = { 0 };
	struct key_index *k = index_of(f, &list);
	size_t fit = 0, factors = 0;

	f->meant = xcalloc(f->count, 1);
	f->stated = xcalloc(f->count, sizeof(*f->stated));
	f->beside = xcalloc(f->count, sizeof(*f->beside));
	f->lengths_of = xcalloc(f->file->count + 1, sizeof(*f->lengths_of));
	for (size_t i = 0; i < f->count; i++)
		f->stated[i] = NAN;
	f->has_metadata = safetensors_metadata(f->file, LORA_METADATA_KEY) != NULL;
	for (size_t i = 0; i < f->file->count; i++) {
		const struct safetensor *t = &f->file->tensor[i];
		size_t stem = 0;
		const enum part_role role = part_role(t->name, &stem);
		const long p = role == ROLE_NONE ? -1 : place_of(k, t->name, stem);

		f->lengths_of[i] = role == ROLE_DORA ? p : -1;
		if (p < 0)
			continue;
		if (role == ROLE_WEIGHT)
			f->meant[p] |= MEANT_WEIGHT;
		else if (role == ROLE_BIAS)
			f->meant[p] |= MEANT_BIAS;
		if (is_inner_factor(t))
			learn_scale(f, sources, t, stem, p);
		if (role == ROLE_WEIGHT && t->dims > 1 && strstr(t->name, "lora")) {
			factors++;
			fit += has_side(&f->place[p], t);
		}
	}
	for (size_t i = 0; i < f->count; i++)
		f->in_file += !!(f->meant[i] & MEANT_WEIGHT) + !!(f->meant[i] & MEANT_BIAS);
	f->sized |= factors && fit * 10 > factors * 9;
	alpha_sources_free(sources);
	key_index_free(k);
	layer_list_free(&list);
}

struct readers_file *readers_file_new(const struct safetensors *file, const struct model_config *model)
{
	struct model_config m;
	struct readers_file *f = xcalloc(1, sizeof(*f));

	if (model)
		m = *model;
	else
		model_config_sdxl(&m);
	f->file = file;
	f->family = m.family;
	f->unet = m.unet;
	f->sized = model && model != m.family->usual;
	add_places(f, &m);
	collect(f);
	f->released = f->sized && m.unet.context == family_sdxl.usual->unet.context;
	f->made_for = adapter_made_for(file);
	f->foreign = f->made_for && strncmp(f->family->title, f->made_for, strlen(f->made_for));
	return f;
}

bool readers_file_is_foreign(const struct readers_file *f)
{
	return f->foreign;
}

void readers_file_free(struct readers_file *f)
{
	for (size_t i = 0; f && i < f->count; i++) {
		free(f->place[i].name);
		free(f->place[i].sgm);
	}
	if (f) {
		free(f->place);
		free(f->meant);
		free(f->stated);
		free(f->beside);
		free(f->lengths_of);
	}
	free(f);
}
