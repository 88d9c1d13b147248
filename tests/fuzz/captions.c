/* Captions with shuffled and dropped tags and wildcards, and brackets that weigh words.  The first bytes are the
 * options.  UTF-8 stays UTF-8, the same visit reads the same words, and a weight is a number. */
#include <math.h>
#include "fuzz.h"
#include "../../libcommon/data/caption.h"
#include "../../libcommon/data/caption_variants.h"
#include "../../libcommon/model/prompt_weights.h"

enum { OPTIONS = 4 };

static struct caption_options options_of(const uint8_t *b)
{
	static const char *const separators[] = { NULL, ",", ";", "|||", " ", "\xc3\xa9", "{", "\n" };

	return (struct caption_options){
		.shuffle = b[0] & 1, .wildcard = b[0] & 2, .keep_tokens = b[0] >> 6,
		.tag_dropout = (b[0] >> 2 & 3) / 3.0, .keep_separator = separators[b[1] & 7],
		.separator = separators[b[1] >> 3 & 7], .second_separator = separators[b[2] & 7],
		.warmup_min = b[2] >> 6, .warmup_steps = b[3] & 63, .dropout = (b[3] >> 6) / 4.0,
	};
}

static void check_visits(const struct caption_options *o, const char *text)
{
	const bool sound = utf8_prefix(text, strlen(text)) == strlen(text);

	for (uint32_t step = 0; step < 3; step++) {
		const struct caption_visit v = { .seed = 7, .epoch = step / 2, .step = step, .item = 5, .total = 10 };
		char *words = caption_of_visit(o, text, &v), *again = caption_of_visit(o, text, &v);

		HOLDS(words && !strcmp(words, again));
		HOLDS(!sound || utf8_prefix(words, strlen(words)) == strlen(words));
		free(words);
		free(again);
	}
}

static void check_weights(const char *text)
{
	struct weighted_texts list = { 0 };
	size_t length = 0;

	prompt_weights_parse(text, &list);
	HOLDS(list.count > 0);
	for (size_t i = 0; i < list.count; i++) {
		HOLDS(list.part[i].text && isfinite(list.part[i].weight));
		HOLDS(i == 0 || list.part[i].weight != list.part[i - 1].weight);
		length += strlen(list.part[i].text);
	}
	HOLDS(length <= strlen(text));
	prompt_weights_free(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct caption_options o;
	char *text;

	if (n < OPTIONS)
		return 0;
	o = options_of(bytes);
	text = xstrndup((const char *)bytes + OPTIONS, strnlen((const char *)bytes + OPTIONS, n - OPTIONS));
	check_visits(&o, text);
	check_weights(text);
	free(text);
	return 0;
}
