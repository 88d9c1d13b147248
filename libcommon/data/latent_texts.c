/* Texts that several samples of a stream share: finding their rows. */
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
		GROW(t->text, t->count, t->capacity);
		t->text[t->count++] = (struct conditioning){ 0 };
	}
}

/* Of a sample with its own texts only, all its texts are its own rows. */
static size_t row_of(const struct latent_sample *s, size_t first, int variant)
{
	return s->row ? (size_t)s->row[variant] : first + variant;
}

int latent_texts_check(struct latent_texts *t, const char *label, int part, const struct latent_sample *s,
		       struct error *e)
{
	size_t first;

	begin_part(t, part);
	first = t->count;
	add_rows(t, s->text.rows);
	for (int i = 0; i < s->variants; i++)
		if (row_of(s, first, i) >= t->count)
			return fail(e, EXIT_INPUT, "%s: sample %s needs text %zu, but the stream has had %zu; "
						   "encode the pictures again", label,
				    s->key, row_of(s, first, i), t->count);
	return 0;
}

static bool is_known(const struct conditioning *text)
{
	return text->of[CONDITION_CONTEXT].data != NULL;
}

/* Where to read a row; NULL memory: no sample has it. */
static struct conditioning source_of(const struct latent_texts *t, const struct latent_sample *s, size_t first,
				     size_t row)
{
	return is_known(&t->text[row]) || row < first ? t->text[row] : conditioning_at(&s->text, row - first);
}

int latent_texts_fill(struct latent_texts *t, const char *label, int part, struct latent_sample *s, struct error *e)
{
	size_t first;

	if (latent_texts_check(t, label, part, s, e) < 0)
		return -1;
	if (!s->variants)
		return 0;
	first = t->count - s->text.rows;
	s->variant = xcalloc(s->variants, sizeof(*s->variant));
	for (int i = 0; i < s->variants; i++) {
		const size_t row = row_of(s, first, i);

		s->variant[i] = source_of(t, s, first, row);
		if (!is_known(&s->variant[i]))
			return fail(e, EXIT_INPUT, "%s: sample %s needs a text that no sample has", label, s->key);
		s->variant[i].rows = 1;
		t->text[row] = s->variant[i];           /* later samples may read it */
	}
	free(s->row);
	s->row = NULL;
	return 0;
}

void latent_texts_skim(struct latent_texts *t, int part, struct latent_sample *s)
{
	begin_part(t, part);
	s->text.rows = 0;
	/* a new row follows those that were there; another number is an error when the payload is read */
	for (int i = 0; i < s->variants; i++)
		s->text.rows += row_of(s, t->count, i) == t->count + s->text.rows;
	add_rows(t, s->text.rows);
}

void latent_texts_free(struct latent_texts *t)
{
	free(t->text);
	*t = (struct latent_texts){ 0 };
}
