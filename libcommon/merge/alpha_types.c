/* Which tensors a file's alphas were. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../adapter/target.h"
#include "../base/memory.h"
#include "../model/source.h"
#include "alpha_types.h"

static const char all[] = "*", none[] = "none";

/* "unet.down_blocks.1.attentions.0.proj_in"; malloced */
static char *module_name(const struct layer *l)
{
	return xprintf("%s.%s", part_names[l->component].folder, l->name);
}

/* ---- what it was ---- */

json_t *alpha_types_said(const struct safetensors *file)
{
	const char *text = safetensors_metadata(file, ALPHA_TYPES_KEY);
	struct error ignored;           /* a note that cannot be read says nothing */

	return text ? json_parse(ALPHA_TYPES_KEY, text, strlen(text), &ignored) : NULL;
}

/* ALPHA_UNSAID where the metadata has no word that is a type */
static int type_said(const json_t *said, const struct layer *l)
{
	char *name = module_name(l);
	const json_t *value = json_object_get(said, name);
	const char *word = json_string_value(value ? value : json_object_get(said, all));
	const int type = word ? dtype_from_name(word, strlen(word)) : -1;

	free(name);
	return type >= 0 ? type : word && !strcmp(word, none) ? ALPHA_ABSENT : ALPHA_UNSAID;
}

/* A file of that dialect ("diffusers", "peft, whole pipeline") has no alphas among its tensors. */
static bool elsewhere(const char *dialect)
{
	for (const struct adapter_target *t = adapter_targets; t->name; t++)
		if (t->alphas != ALPHAS_IN_TENSORS && !strncmp(t->unet, dialect, strlen(t->unet)))
			return true;
	return false;
}

/* The number is one of the type, as far as an F32 tells it, and a type that alphas have. */
static bool holds(enum dtype t, double alpha)
{
	const bool whole = alpha == floor(alpha);
	unsigned char bytes[8];
	const float number = (float)alpha;
	float back;

	switch (t) {
	case DTYPE_F64: return true;
	case DTYPE_I64: return whole && fabs(alpha) < 0x1p53;
	case DTYPE_I32: return whole && fabs(alpha) < 0x1p31;
	case DTYPE_U8: return whole && alpha >= 0 && alpha < 256;
	default: break;
	}
	return !from_float(bytes, t, &number, 1) && !to_float(&back, bytes, t, 1) && back == number;
}

int alpha_type_was(const json_t *said, const struct adapter_file *a, const struct file_module *m)
{
	int type = type_said(said, m->layer);

	if (m->scale || m->scalar)      /* alpha has them in it */
		return ALPHA_UNSAID;
	if (type == ALPHA_UNSAID && m->alpha_tensor)
		return holds(m->alpha_tensor->dtype, m->alpha) ? m->alpha_tensor->dtype : DTYPE_F32;
	if (type == ALPHA_UNSAID && !elsewhere(a->dialect))
		type = ALPHA_ABSENT;
	if (type >= 0)
		return holds(type, m->alpha) ? type : ALPHA_UNSAID;
	return m->alpha == m->form.rank ? type : ALPHA_UNSAID;
}

/* ---- new ones ---- */

enum dtype alpha_type_for(double alpha, enum dtype factors)
{
	return holds(factors, alpha) ? factors : DTYPE_F32;
}

enum dtype alpha_type_new(const struct file_module *m)
{
	int i = 0;

	while (!m->part[i])
		i++;
	return alpha_type_for(m->alpha, m->part[i]->dtype);
}

bool alpha_fits(double alpha)
{
	const float number = (float)alpha;

	return isfinite(number) && (number != 0 || alpha == 0);
}

double alpha_as_written(const struct safetensor *was, double alpha)
{
	const bool wide = was && (was->dtype == DTYPE_F64 || !dtype_is_float(was->dtype)) && holds(was->dtype, alpha);

	return wide || !alpha_fits(alpha) ? alpha : (double)(float)alpha;
}

/* An integer's bytes are the first of a longer one's. */
void *alpha_bytes(double alpha, enum dtype t)
{
	const bool integer = t == DTYPE_I64 || t == DTYPE_I32 || t == DTYPE_U8;
	void *bytes = xcalloc(1, 8);
	const float number = (float)alpha;

	if (integer) {
		const int64_t whole = (int64_t)alpha;

		memcpy(bytes, &whole, dtype_size(t));
	} else if (t == DTYPE_F64) {
		memcpy(bytes, &alpha, sizeof(alpha));
	} else if (from_float(bytes, t, &number, 1)) {
		die(EXIT_OTHER, "bug: an alpha of type %s", dtype_name(t));
	}
	return bytes;
}

/* ---- the note ---- */

void alpha_types_add(struct alpha_types *l, const struct layer *layer, int type, bool plain)
{
	GROW(l->item, l->count, l->capacity);
	l->item[l->count++] = (struct alpha_note){ module_name(layer), type, plain };
}

static const char *word(int type)
{
	return type < 0 ? none : dtype_name(type);
}

/* One word for all where they are of one type. */
void alpha_types_tell(const struct alpha_types *l, struct metadata_list *list)
{
	struct json_out j = { 0 };
	bool same = true;
	size_t notes = 0;

	for (size_t i = 0; i < l->count; i++) {
		same &= l->item[i].type == l->item[0].type;
		notes += !l->item[i].plain;
	}
	if (!notes)
		return;
	json_begin(&j, NULL);
	if (same)
		json_text(&j, all, word(l->item[0].type));
	for (size_t i = 0; i < l->count && !same; i++)
		if (!l->item[i].plain)
			json_text(&j, l->item[i].module, word(l->item[i].type));
	json_end(&j);
	metadata_text(list, ALPHA_TYPES_KEY, j.text.data);
	json_free(&j);
}

void alpha_types_free(struct alpha_types *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->item[i].module);
	free(l->item);
}
