/* Data that is not there yet: from the settings alone, or from what lora-prep says of the pictures. */
#include <string.h>
#include "../io/publish.h"
#include "internal.h"

#define REPORT_CAP (256u << 20)

/* What all have in common: text outputs as a frozen text encoder leaves them. */
static struct latent_sample imagined_sample(const struct run *r, int chunks, const int bucket[2])
{
	const struct model_config *c = model_files_config(r->net.files);

	return (struct latent_sample){
		.c = c->vae.latent_channels, .w = bucket[0] / c->vae.factor, .h = bucket[1] / c->vae.factor,
		.bucket = { bucket[0], bucket[1] }, .repeats = r->s->batch_size, .weight = 1, .empty = -1,
		.variants = 1, .length = chunks_length(chunks, c->te1.length),
		.context_width = c->unet.context, .pooled_width = c->unet.pooled,
	};
}

int run_imagine_data(struct run *r, struct error *e)
{
	struct bucket_rules rules = r->s->buckets;
	struct buckets b;
	size_t i;
	int chunks;

	rules.no_upscale = false;       /* sizes would be those of the pictures, up to the same area */
	if (chunks_of(r->s->max_token_length, &chunks, e) < 0 || buckets_make(&rules, &b, e) < 0)
		return -1;
	r->data.stand_in = true;
	r->data.set.sample = xcalloc(b.count, sizeof(*r->data.set.sample));
	for (i = 0; i < b.count; i++)
		r->data.set.sample[i] = imagined_sample(r, chunks, b.size[i]);
	r->data.set.count = b.count;
	buckets_free(&b);
	return 0;
}

/* ---- a report of lora-prep ---- */

static int whole_number(const json_t *v)
{
	const json_int_t n = json_integer_value(v);

	return n >= 0 && n <= 1000000000 ? n : 0;
}

/* A line "picture"; the others are of no use here. */
static int take_picture(struct run *r, int chunks, const json_t *line, size_t *capacity, struct error *e)
{
	const char *event = json_string_value(json_object_get(line, "event"));
	const json_t *size = json_object_get(line, "bucket");
	const int bucket[2] = { whole_number(json_array_get(size, 0)), whole_number(json_array_get(size, 1)) };
	struct latent_sample *s;

	if (!event || strcmp(event, "picture"))
		return 0;
	GROW(r->data.set.sample, r->data.set.count, *capacity);
	s = &r->data.set.sample[r->data.set.count];
	*s = imagined_sample(r, chunks, bucket);
	s->repeats = whole_number(json_object_get(line, "repeats"));
	s->batch_size = whole_number(json_object_get(line, "batch_size"));
	s->regularization = json_is_true(json_object_get(line, "regularization"));
	snprintf(s->key, sizeof(s->key), "%08zu", r->data.set.count);
	if (!s->w || !s->h || !s->repeats)
		return fail(e, EXIT_INPUT, "picture %zu has no bucket or no repeats; give a report of lora-prep", r->data.set.count + 1);
	r->data.set.count++;
	return 0;
}

static int take_lines(struct run *r, int chunks, char *rest, struct error *e)
{
	size_t capacity = 0;
	char *text;
	int result = 0;

	while (!result && (text = strsep(&rest, "\n")) && *text) {
		json_t *line = json_parse("a line", text, strlen(text), e);
		result = line ? take_picture(r, chunks, line, &capacity, e) : -1;
		json_decref(line);
	}
	return result;
}

int run_imagine_pictures(struct run *r, struct error *e)
{
	struct buffer text = { 0 };
	int chunks, result;

	r->data.stand_in = true;
	if (chunks_of(r->s->max_token_length, &chunks, e) < 0)
		return -1;
	result = read_file(r->s->pictures, REPORT_CAP, &text, e);
	if (!result) {
		buffer_add(&text, "", 1);
		result = take_lines(r, chunks, text.data, e) < 0 ? fail_at(e, r->s->pictures) : 0;
	}
	buffer_free(&text);
	if (!result && !r->data.set.count)
		result = fail(e, EXIT_INPUT, "%s: no picture in it; give a report of lora-prep", r->s->pictures);
	return result;
}
