#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "encode_internal.h"

struct caption { const struct encoder *n; int32_t *ids[2]; float *weights[2]; struct tensor *pooled; };

static int open_ids(const struct encoder *n, const char *words, struct caption *c, struct error *e)
{
	const int length = n->config->te1.length, count = n->chunks * length;
	int result = 0;

	*c = (struct caption){ .n = n };
	for (int i = 0; i < 2 && result == 0; i++) {
		c->ids[i] = xmalloc(count * sizeof(*c->ids[i]));
		c->weights[i] = n->s->captions.weighted ? xmalloc(count * sizeof(*c->weights[i])) : NULL;
		result = c->weights[i] ? chunks_encode_weighted(n->tokenizer[i], words, n->chunks, length, c->ids[i], c->weights[i], e) :
					 chunks_encode(n->tokenizer[i], words, n->chunks, length, c->ids[i], e);
	}
	return result < 0 ? -1 : 0;
}

static void free_ids(struct caption *c)
{
	for (int i = 0; i < 2; i++) {
		free(c->ids[i]);
		free(c->weights[i]);
	}
}

/* A caption counts once, however many variants of it are too long. */
static int count_cut(struct encoder *n, const struct latent_sample *s, struct error *e)
{
	int cut = 0;

	for (int i = 0; i < 2 * s->captions && !cut; i++)
		cut = chunks_cut(n->tokenizer[i % 2], s->caption[i / 2], n->s->captions.weighted, n->chunks, n->config->te1.length, e);
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
		if (result == 0)
			encode_text_id(n, s->caption[i], c.ids, c.weights, s->text_id[i]);
		free_ids(&c);
		if (result < 0)
			return fail_at(e, w->label);
	}
	return 0;
}

static struct tensor *run_encoders(struct tape *t, void *arg)
{
	struct caption *c = arg;
	const struct chunk_batch b = { 1, c->n->chunks, c->ids[0], c->ids[1], c->weights[0], c->weights[1] };

	return chunks_context(t, c->n->te1, c->n->te2, &b, &c->pooled);
}

static int open_encoders(struct encoder *n, struct error *e)
{
	if (!n->te1)
		n->te1 = clip_load(n->files, COMPONENT_TE1, n->be, n->device, e);
	if (n->te1 && !n->te2)
		n->te2 = clip_load(n->files, COMPONENT_TE2, n->be, n->device, e);
	return n->te1 && n->te2 ? 0 : -1;
}

static int keep_states(const struct encoder *n, const char *label, const struct tensor *y, float *to, struct error *e)
{
	const size_t count = tensor_count(y);
	size_t i;

	tensor_download(n->work.tape, y, to);
	for (i = 0; i < count && isfinite(to[i]); i++)
		;
	if (i < count)
		return fail(e, EXIT_INPUT, "%s: a text encoder gives NaN or infinity for its caption; are the model's files whole?", label);
	return encode_round(n, label, to, count, e);
}

static int encode_caption(struct encoder *n, const char *label, const char *words, float *context, float *pooled, struct error *e)
{
	struct tensor *y = NULL;
	struct caption c;

	if (open_encoders(n, e) < 0)
		return -1;
	if (open_ids(n, words, &c, e) == 0)
		y = workspace_run(&n->work, run_encoders, &c, e);
	free_ids(&c);
	if (!y)
		return -1;
	return keep_states(n, label, y, context, e) < 0 ? -1 : keep_states(n, label, c.pooled, pooled, e);
}

static int new_row(struct encoder *n, const char *text_id)
{
	struct text_rows *r = &n->rows;

	GROW(r->key, r->count, r->capacity);
	r->key[r->count] = xstrdup(text_id);
	map_put(r->index, r->key[r->count], 64, r->count);
	return r->count++;
}

/* A text that the stream has already is only pointed at. */
int encode_texts(struct encoder *n, struct waiting *w, struct error *e)
{
	struct latent_sample *s = &w->s;
	size_t each;

	s->variants = s->captions;
	s->length = chunks_length(n->chunks, n->config->te1.length);
	s->context_width = n->config->unet.context;
	s->pooled_width = n->config->unet.pooled;
	each = (size_t)s->length * s->context_width;
	s->row = xcalloc(s->captions, sizeof(*s->row));
	s->context = xmalloc(each * s->captions * sizeof(float));
	s->pooled = xmalloc((size_t)s->pooled_width * s->captions * sizeof(float));
	for (int i = 0; i < s->captions; i++) {
		float *context = s->context + s->rows * each, *pooled = s->pooled + (size_t)s->rows * s->pooled_width;
		const long there = map_get(n->rows.index, s->text_id[i], 64);
		int taken;

		s->row[i] = there;
		if (there >= 0)
			continue;
		taken = encode_take_text(n, s, s->text_id[i], context, pooled, e);
		if (taken < 0)
			return -1;
		if (!taken) {
			if (encode_caption(n, w->label, s->caption[i], context, pooled, e) < 0)
				return -1;
			w->some_new = true;
		}
		s->row[i] = new_row(n, s->text_id[i]);
		s->rows++;
	}
	return 0;
}

void encode_free_texts(struct encoder *n)
{
	for (size_t i = 0; i < n->rows.count; i++)
		free(n->rows.key[i]);
	free(n->rows.key);
	map_free(n->rows.index);
}
