/* The rows of model families, and what follows from a row and a config. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "family.h"

static const struct family *const families[] = { &family_sdxl, &family_sd15, &family_sdxl_flow, &family_sdxl_inpaint };
#define FAMILIES (sizeof(families) / sizeof(*families))

const struct family *family_of(const struct model_config *c)
{
	for (size_t i = 0; i < FAMILIES; i++)
		if (families[i]->is(c))
			return families[i];
	return NULL;
}

const struct family *family_of_file(const struct safetensors *s)
{
	for (size_t i = FAMILIES; i-- > 0;) {
		const struct family *f = families[i];
		char *name = f->sign.name ? xprintf("%s%s.weight", f->prefix[COMPONENT_UNET], f->sign.name) : NULL;
		const struct safetensor *t = name ? safetensors_find(s, name) : NULL;

		free(name);
		if (t && t->dims == f->sign.dims && (!f->sign.in || t->shape[1] == f->sign.in))
			return f;
	}
	return families[0];
}

const struct family *family_of_hub(const char *id)
{
	for (size_t i = 0; i < FAMILIES; i++)
		if (families[i]->hub && !strcmp(families[i]->hub, id))
			return families[i];
	return NULL;
}

const struct family *family_at(size_t i)
{
	return i < FAMILIES ? families[i] : NULL;
}

char *family_titles(void)
{
	struct buffer list = { 0 };

	for (size_t i = 0; i < FAMILIES; i++)
		buffer_addf(&list, "%s%s", i ? ", " : "", families[i]->title);
	return buffer_steal(&list);
}

const struct family *family_encoded_as(const char *word)
{
	for (size_t i = 0; i < FAMILIES; i++) {
		const char *own = families[i]->encoded_as;

		if (word && own ? !strcmp(word, own) : word == own)
			return families[i];
	}
	return NULL;
}

struct conditioning family_conditioning(const struct model_config *c, int tokens)
{
	const struct { int length, width; } shape[CONDITIONS] = {
		[CONDITION_CONTEXT] = { tokens, c->unet.context }, [CONDITION_POOLED] = { 1, c->unet.pooled },
		[CONDITION_TIME_IDS] = { 1, TIME_IDS },
	};
	struct conditioning k = { 0 };

	for (int i = 0; i < CONDITIONS; i++)
		if (c->family->conditions & 1u << i) {
			k.of[i].length = shape[i].length;
			k.of[i].width = shape[i].width;
		}
	return k;
}

struct conditioning family_text(const struct model_config *c, int tokens)
{
	struct conditioning k = family_conditioning(c, tokens);

	for (int i = 0; i < CONDITIONS; i++)
		if (!condition_is_text(i))
			k.of[i].length = k.of[i].width = 0;
	return k;
}
