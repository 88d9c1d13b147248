#include <stdlib.h>
#include <string.h>
#include "latents.h"

static void begin_part(struct latent_texts *t, int part)
{
	if (part != t->part)
		t->count = 0;
	t->part = part;
}

static void add_rows(struct latent_texts *t, int rows)
{
	for (int i = 0; i < rows; i++) {
		size_t capacity = t->capacity;
		GROW(t->context, t->count, capacity);
		GROW(t->pooled, t->count, t->capacity);
		t->context[t->count] = t->pooled[t->count] = NULL;
		t->count++;
	}
}

/* Of a sample with its own texts only, all its texts are its own rows. */
static size_t row_of(const struct latent_sample *s, size_t first, int variant)
{
	return s->row ? (size_t)s->row[variant] : first + variant;
}

int latent_texts_check(struct latent_texts *t, const char *label, int part, const struct latent_sample *s, struct error *e)
{
	size_t first;

	begin_part(t, part);
	first = t->count;
	add_rows(t, s->rows);
	for (int i = 0; i < s->variants; i++)
		if (row_of(s, first, i) >= t->count)
			return fail(e, EXIT_INPUT, "%s: sample %s needs text %zu, but the stream has had %zu; encode the pictures again", label,
				    s->key, row_of(s, first, i), t->count);
	return 0;
}

struct row { float *context, *pooled; };

static struct row in_sample(const struct latent_sample *s, float *context, float *pooled, size_t i)
{
	return (struct row){ context + i * s->length * s->context_width, pooled + i * s->pooled_width };
}

/* Where to read a row, and afterwards the copy that later samples may read. */
static struct row take_row(struct latent_texts *t, const struct latent_sample *s, size_t first, size_t row, struct row copy)
{
	const struct row from = t->context[row] || row < first ? (struct row){ t->context[row], t->pooled[row] } :
				in_sample(s, s->context, s->pooled, row - first);

	if (!t->context[row]) {
		t->context[row] = copy.context;
		t->pooled[row] = copy.pooled;
	}
	return from;
}

int latent_texts_fill(struct latent_texts *t, const char *label, int part, struct latent_sample *s, struct error *e)
{
	const size_t each = (size_t)s->length * s->context_width;
	float *context, *pooled;
	size_t first;

	if (latent_texts_check(t, label, part, s, e) < 0)
		return -1;
	if (!s->variants)
		return 0;
	first = t->count - s->rows;
	context = xmalloc(each * s->variants * sizeof(*context));
	pooled = xmalloc((size_t)s->pooled_width * s->variants * sizeof(*pooled));
	for (int i = 0; i < s->variants; i++) {
		const struct row to = in_sample(s, context, pooled, i), from = take_row(t, s, first, row_of(s, first, i), to);
		if (!from.context) {
			free(context);
			free(pooled);
			return fail(e, EXIT_INPUT, "%s: sample %s needs a text that no sample has", label, s->key);
		}
		memcpy(to.context, from.context, each * sizeof(float));
		memcpy(to.pooled, from.pooled, s->pooled_width * sizeof(float));
	}
	free(s->context);
	free(s->pooled);
	free(s->row);
	s->context = context;
	s->pooled = pooled;
	s->row = NULL;
	s->rows = s->variants;
	return 0;
}

void latent_texts_free(struct latent_texts *t)
{
	free(t->context);
	free(t->pooled);
	*t = (struct latent_texts){ 0 };
}
