/* Stand-ins for data that does not exist yet, for a plan: from the settings alone, or from a report of lora-prep. */
#include <stdlib.h>
#include <string.h>
#include "../base/map.h"
#include "../config/options.h"
#include "../io/json.h"
#include "../io/publish.h"
#include "../model/family.h"
#include "../model/long_text.h"
#include "../model/text_encoders.h"
#include "data.h"

#define REPORT_CAP (256u << 20)

/* A sample without payload, with text outputs of the size that a frozen text encoder gives. */
static struct latent_sample stand_in(const struct run_data *d, const struct model_config *c, int chunks,
				     const int bucket[2])
{
	struct latent_sample s = {
		.c = c->vae.latent_channels, .w = bucket[0] / c->vae.factor, .h = bucket[1] / c->vae.factor,
		.bucket = { bucket[0], bucket[1] }, .repeats = d->s->batch_size, .weight = 1, .empty = -1,
		.variants = 1, .text = family_text(c, chunks_length(chunks, c->text[0].length)),
		.clip_skip = text_skip_trained(c, d->s->clip_skip),
	};

	s.text.rows = 1;
	return s;
}

int data_from_buckets(struct run_data *d, const struct model_config *c, struct error *e)
{
	struct bucket_rules rules = d->s->buckets;
	struct buckets b;
	size_t i;
	int chunks;

	if (!option_is_set("resolution"))
		rules.resolution[0] = rules.resolution[1] = c->family->side;    /* as lora-prep -m */
	rules.no_upscale = false;       /* sizes would be those of the pictures, up to the same area */
	if (chunks_of(d->s->max_token_length, &chunks, e) < 0 || buckets_make(&rules, &b, e) < 0)
		return -1;
	d->stand_in = true;
	d->set.sample = xcalloc(b.count, sizeof(*d->set.sample));
	for (i = 0; i < b.count; i++)
		d->set.sample[i] = stand_in(d, c, chunks, b.size[i]);
	d->set.count = b.count;
	buckets_free(&b);
	return 0;
}

/* ---- a report of lora-prep ---- */

struct seen_captions { struct map *map; char **text; size_t count, capacity; };

/* Is the text of this picture none that an earlier one has?  A long caption is cut in the report. */
static bool is_new_text(struct seen_captions *seen, const json_t *picture)
{
	const char *words = json_string_value(json_object_get(picture, "caption"));

	if (!words || json_object_get(picture, "caption_bytes"))
		return true;
	if (map_get(seen->map, words, strlen(words)) >= 0)
		return false;
	GROW(seen->text, seen->count, seen->capacity);
	seen->text[seen->count] = xstrdup(words);
	map_put(seen->map, seen->text[seen->count++], strlen(words), 0);
	return true;
}

static void forget_captions(struct seen_captions *seen)
{
	for (size_t i = 0; i < seen->count; i++)
		free(seen->text[i]);
	free(seen->text);
	map_free(seen->map);
}

static int whole_number(const json_t *v)
{
	const json_int_t n = json_integer_value(v);

	return n >= 0 && n <= 1000000000 ? n : 0;
}

/* Takes a line of event "picture"; others are skipped. */
static int take_picture(struct run_data *d, const struct model_config *c, int chunks, const json_t *line,
			struct seen_captions *seen, size_t *capacity, struct error *e)
{
	const char *event = json_string_value(json_object_get(line, "event"));
	const json_t *size = json_object_get(line, "bucket");
	const int bucket[2] = { whole_number(json_array_get(size, 0)), whole_number(json_array_get(size, 1)) };
	struct latent_sample *s;

	if (!event || strcmp(event, "picture"))
		return 0;
	GROW(d->set.sample, d->set.count, *capacity);
	s = &d->set.sample[d->set.count];
	*s = stand_in(d, c, chunks, bucket);
	s->text.rows = is_new_text(seen, line);
	s->repeats = whole_number(json_object_get(line, "repeats"));
	s->batch_size = whole_number(json_object_get(line, "batch_size"));
	s->regularization = json_is_true(json_object_get(line, "regularization"));
	snprintf(s->key, sizeof(s->key), "%08zu", d->set.count);
	if (!s->w || !s->h || !s->repeats)
		return fail(e, EXIT_INPUT, "picture %zu has no bucket or no repeats; give a report of lora-prep",
			    d->set.count + 1);
	d->set.count++;
	return 0;
}

static int take_lines(struct run_data *d, const struct model_config *c, int chunks, char *rest, struct error *e)
{
	struct seen_captions seen = { .map = map_new(0) };
	size_t capacity = 0;
	char *text;
	int result = 0;

	while (!result && (text = strsep(&rest, "\n")) && *text) {
		json_t *line = json_parse("a line", text, strlen(text), e);
		result = line ? take_picture(d, c, chunks, line, &seen, &capacity, e) : -1;
		json_decref(line);
	}
	forget_captions(&seen);
	return result;
}

int data_from_report(struct run_data *d, const struct model_config *c, struct error *e)
{
	struct buffer text = { 0 };
	int chunks, result;

	d->stand_in = true;
	if (chunks_of(d->s->max_token_length, &chunks, e) < 0)
		return -1;
	result = read_file(d->s->pictures, REPORT_CAP, &text, e);
	if (!result) {
		buffer_add(&text, "", 1);
		result = take_lines(d, c, chunks, text.data, e) < 0 ? fail_at(e, d->s->pictures) : 0;
	}
	buffer_free(&text);
	if (!result && !d->set.count)
		result = fail(e, EXIT_INPUT, "%s: no picture in it; give a report of lora-prep", d->s->pictures);
	return result;
}
