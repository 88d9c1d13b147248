/* The variants of captions that are encoded. */
#include <stdlib.h>
#include <string.h>
#include "../base/hash.h"
#include "../base/memory.h"
#include "encode_variants.h"

/* Keeps one of equal variants: shuffling a single tag gives the same text each time. */
static void fold_equal(struct latent_sample *s, int first)
{
	for (int i = first + 1; i < s->captions; i++)
		if (strcmp(s->caption[i], s->caption[first]))
			return;
	while (s->captions > first + 1)
		free(s->caption[--s->captions]);
}

/* Draws the variants as visits at steps 0, 1, ...
 * of no real run, so that they do not depend on the rest of the stream. */
static void add_variants(const struct caption_options *o, long variants, uint64_t seed, const char *written,
			 struct latent_sample *s)
{
	long count = caption_options_vary(o) ? variants : 1;
	struct caption_visit v = { .seed = seed, .item = crc32c(0, written, strlen(written)), .total = count };

	s->caption = xrealloc(s->caption, (s->captions + count) * sizeof(*s->caption));
	for (v.step = 0; v.step < count; v.step++)
		s->caption[s->captions++] = caption_variant(o, written, &v);
	fold_equal(s, s->captions - (int)count);
}

void variants_make(const struct caption_options *o, long variants, uint64_t seed, struct latent_sample *s)
{
	char **written = s->caption;
	int count = s->captions, i;

	s->caption = NULL;
	s->captions = 0;
	for (i = 0; i < count; i++)
		add_variants(o, variants, seed, written[i], s);
	if (caption_options_drop(o)) {
		s->empty = s->captions;
		s->caption = xrealloc(s->caption, (s->captions + 1) * sizeof(*s->caption));
		s->caption[s->captions++] = xstrdup("");
	}
	if (s->captions != count || strcmp(s->caption[0], written[0]))
		s->written = xstrdup(written[0]);
	for (i = 0; i < count; i++)
		free(written[i]);
	free(written);
}
