/* The rows of model families, and what follows from a row and a config. */
#include <string.h>
#include "family.h"

static const struct family *const families[] = { &family_sdxl };

const struct family *family_of(const struct model_config *c)
{
	for (size_t i = 0; i < sizeof(families) / sizeof(*families); i++)
		if (families[i]->is(c))
			return families[i];
	return NULL;
}

const struct family *family_encoded_as(const char *word)
{
	for (size_t i = 0; i < sizeof(families) / sizeof(*families); i++) {
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
