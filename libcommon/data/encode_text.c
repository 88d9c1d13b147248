/* Encoding captions with the text encoders, each text once. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "encode_internal.h"

/* One text as tokens of each tokenizer, and the tensors made of it. */
struct caption {
	const struct encoder *n;
	int32_t *ids[TEXT_ENCODERS];
	float *weights[TEXT_ENCODERS];
	struct tensor *made[CONDITIONS];
};

static int open_ids(const struct encoder *n, const char *words, struct caption *c, struct error *e)
{
	const int length = n->config->text[0].length, count = n->chunks * length;
	int result = 0;

	*c = (struct caption){ .n = n };
	for (int i = 0; i < n->config->family->texts && result == 0; i++) {
		c->ids[i] = xmalloc(count * sizeof(*c->ids[i]));
		c->weights[i] = n->s->captions.weighted ? xmalloc(count * sizeof(*c->weights[i])) : NULL;
		result = c->weights[i] ? chunks_encode_weighted(n->tokenizer[i], words, n->chunks, length, c->ids[i],
								c->weights[i], e) :
					 chunks_encode(n->tokenizer[i], words, n->chunks, length, c->ids[i], e);
	}
	return result < 0 ? -1 : 0;
}

static void free_ids(struct caption *c)
{
	for (int i = 0; i < TEXT_ENCODERS; i++) {
		free(c->ids[i]);
		free(c->weights[i]);
	}
}

static struct chunk_batch batch_of(const struct caption *c)
{
	struct chunk_batch b = { .n = 1, .chunks = c->n->chunks, .skip = c->n->skip };

	for (int i = 0; i < TEXT_ENCODERS; i++) {
		b.ids[i] = c->ids[i];
		b.weights[i] = c->weights[i];
	}
	return b;
}

/* Counts a sample whose caption is cut, once however many of its variants are too long. */
static int count_cut(struct encoder *n, const struct latent_sample *s, struct error *e)
{
	const int texts = n->config->family->texts;
	int cut = 0;

	for (int i = 0; i < texts * s->captions && !cut; i++)
		cut = chunks_cut(n->tokenizer[i % texts], s->caption[i / texts], n->s->captions.weighted, n->chunks,
				 n->config->text[0].length, e);
	n->captions_cut += cut > 0;
	return cut < 0 ? -1 : 0;
}

int encode_address_texts(struct encoder *n, struct waiting *w, struct error *e)
{
	struct latent_sample *s = &w->s;

	s->text_id = xcalloc(s->captions, sizeof(*s->text_id));
	if (count_cut(n, s, e) < 0)
		return fail_at(e, w->label);
	for (int i = 0; i < s->captions; i++) {
		struct caption c;
		const int result = open_ids(n, s->caption[i], &c, e);
		const struct chunk_batch b = batch_of(&c);
		if (result == 0)
			encode_text_id(n, s->caption[i], &b, s->text_id[i]);
		free_ids(&c);
		if (result < 0)
			return fail_at(e, w->label);
	}
	return 0;
}

static struct tensor *run_encoders(struct tape *t, void *arg)
{
	struct caption *c = arg;
	const struct chunk_batch b = batch_of(c);

	text_encoders_forward(t, &c->n->text, &b, c->made);
	return c->made[CONDITION_CONTEXT];
}

static int keep_states(const struct encoder *n, const char *label, const struct tensor *y, float *to, struct error *e)
{
	const size_t count = tensor_count(y);
	size_t i;

	tensor_download(n->work.tape, y, to);
	for (i = 0; i < count && isfinite(to[i]); i++)
		;
	if (i < count)
		return fail(e, EXIT_INPUT, "%s: a text encoder gives NaN or infinity for its caption; "
					   "are the model's files whole?", label);
	return encode_round(n, label, to, count, e);
}

static int encode_caption(struct encoder *n, const char *label, const char *words, struct conditioning *to, int row,
			  struct error *e)
{
	struct tensor *y = NULL;
	struct caption c;
	int result = 0;

	if (!n->text.count && text_encoders_load(&n->text, n->files, n->be, n->device, false, e) < 0)
		return -1;
	if (open_ids(n, words, &c, e) == 0)
		y = workspace_run(&n->work, run_encoders, &c, e);
	free_ids(&c);
	if (!y)
		return -1;
	for (int i = 0; i < CONDITIONS && result == 0; i++)
		if (to->of[i].data)
			result = keep_states(n, label, c.made[i], to->of[i].data + row * condition_size(to, i), e);
	return result;
}

static int new_row(struct encoder *n, const char *text_id)
{
	struct text_rows *r = &n->rows;

	GROW(r->key, r->count, r->capacity);
	r->key[r->count] = xstrdup(text_id);
	map_put(r->index, r->key[r->count], 64, r->count);
	return r->count++;
}

/* Sets the row of each text; a text that the stream has already is not encoded again. */
int encode_texts(struct encoder *n, struct waiting *w, struct error *e)
{
	const struct conditioning shape = family_text(n->config, chunks_length(n->chunks, n->config->text[0].length));
	struct latent_sample *s = &w->s;
	int rows = 0;

	s->variants = s->captions;
	s->clip_skip = n->skip;
	s->row = xcalloc(s->captions, sizeof(*s->row));
	s->text = conditioning_like(&shape, s->captions);
	for (int i = 0; i < s->captions; i++) {
		const long there = map_get(n->rows.index, s->text_id[i], 64);
		int taken;

		s->row[i] = there;
		if (there >= 0)
			continue;
		taken = encode_take_text(n, s->text_id[i], &s->text, rows, e);
		if (taken < 0)
			return -1;
		if (!taken) {
			if (encode_caption(n, w->label, s->caption[i], &s->text, rows, e) < 0)
				return -1;
			w->some_new = true;
		}
		s->row[i] = new_row(n, s->text_id[i]);
		rows++;
	}
	s->text.rows = rows;
	return 0;
}

void encode_free_texts(struct encoder *n)
{
	for (size_t i = 0; i < n->rows.count; i++)
		free(n->rows.key[i]);
	free(n->rows.key);
	map_free(n->rows.index);
}
