/* The tokens of a text in brackets, part by part. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "weighted_tokens.h"

static int add_part(const struct tokenizer *t, const struct weighted_text *part, int most, struct weighted_tokens *out,
		    struct error *e)
{
	int whole, i, room = most - out->count,
	    got = tokenizer_encode(t, part->text, room + 2, out->id + out->count, &whole, e);

	if (got < 0)
		return -1;
	out->cut |= whole > room + 2;
	memmove(out->id + out->count, out->id + out->count + 1, (got - 2) * sizeof(*out->id));
	for (i = 0; i < got - 2; i++)
		out->weight[out->count++] = part->weight;
	return 0;
}

int weighted_tokens_read(const struct tokenizer *t, const struct weighted_texts *parts, int most,
			 struct weighted_tokens *out, struct error *e)
{
	int result = 0;

	*out = (struct weighted_tokens){ xcalloc(most + 2, sizeof(*out->id)), xcalloc(most + 2, sizeof(*out->weight)),
					 0, false };
	for (size_t i = 0; i < parts->count && !result; i++)
		result = add_part(t, &parts->part[i], most, out, e);
	return result;
}

void weighted_tokens_free(struct weighted_tokens *w)
{
	free(w->id);
	free(w->weight);
	*w = (struct weighted_tokens){ 0 };
}
