/* Prompts to conditioning: tokens in chunks, weights, the text encoders. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../model/weighted_tokens.h"
#include "paint.h"
#include "text.h"

struct texts {
	struct pipeline *p;
	struct weighted_tokens tokens[TEXT_ENCODERS][2];        /* [encoder][text] */
	int n, texts, chunks, length;   /* texts: encoders; length: of a chunk */
	int skip;
	int32_t *ids[TEXT_ENCODERS];    /* [encoder]: [n][chunks][length] */
	float *weights[TEXT_ENCODERS];  /* the same; NULL: all 1 */
	struct tensor *made[CONDITIONS];
};

/* ---- tokens ---- */

static int read_tokens(const struct tokenizer *t, const struct weighted_texts *parts, int most,
		       struct weighted_tokens *out, struct error *e)
{
	if (weighted_tokens_read(t, parts, most, out, e) < 0)
		return -1;
	return out->cut ? fail(e, EXIT_USAGE, "a prompt of more than %d tokens; shorten it", most) : 0;
}

static int read_text(struct texts *x, int index, const char *text, bool plain, struct error *e)
{
	struct tokenizer *const *tokenizer = x->p->tokenizer;
	struct weighted_text self = { (char *)text, 1 };
	struct weighted_texts parts = { &self, 1, 0 };
	int i, inner = x->length - 2, result = 0;

	if (!plain)
		prompt_weights_parse(text, &parts);
	for (i = 0; i < x->texts && !result; i++) {
		struct weighted_tokens *t = &x->tokens[i][index];
		result = read_tokens(tokenizer[i], &parts, PROMPT_CHUNKS_MOST * inner, t, e);
		if ((t->count + inner - 1) / inner > x->chunks)
			x->chunks = (t->count + inner - 1) / inner;
	}
	if (!plain)
		prompt_weights_free(&parts);
	return result;
}

static void fill_chunk(const struct tokenizer *t, const struct weighted_tokens *tokens, int chunk, int length,
		       int32_t *ids)
{
	int i, inner = length - 2, first = chunk * inner, n = tokens->count - first;

	n = n < 0 ? 0 : n > inner ? inner : n;
	ids[0] = tokenizer_bos(t);
	if (n)
		memcpy(ids + 1, tokens->id + first, n * sizeof(*ids));
	ids[n + 1] = tokenizer_eos(t);
	for (i = n + 2; i < length; i++)
		ids[i] = tokenizer_pad(t);
}

static bool is_weighted(const struct texts *x)
{
	for (int i = 0; i < x->texts * x->n; i++) {
		const struct weighted_tokens *t = &x->tokens[i % x->texts][i / x->texts];
		for (int k = 0; k < t->count; k++)
			if (t->weight[k] != 1)
				return true;
	}
	return false;
}

static void fill_weights(const struct weighted_tokens *tokens, int chunks, int length, float *weights)
{
	const int inner = length - 2;

	for (int i = 0; i < chunks * length; i++)
		weights[i] = 1;
	for (int i = 0; i < tokens->count; i++)
		weights[i / inner * length + 1 + i % inner] = tokens->weight[i];
}

static void fill_encoder(struct texts *x, int encoder, bool weighted)
{
	const size_t all = (size_t)x->chunks * x->length;

	x->ids[encoder] = xmalloc(x->n * all * sizeof(int32_t));
	x->weights[encoder] = weighted ? xmalloc(x->n * all * sizeof(float)) : NULL;
	for (int i = 0; i < x->n; i++) {
		const struct weighted_tokens *tokens = &x->tokens[encoder][i];
		for (int k = 0; k < x->chunks; k++)
			fill_chunk(x->p->tokenizer[encoder], tokens, k, x->length,
				   x->ids[encoder] + i * all + (size_t)k * x->length);
		if (weighted)
			fill_weights(tokens, x->chunks, x->length, x->weights[encoder] + i * all);
	}
}

/* ---- states ---- */

static struct tensor *forward(struct tape *t, void *arg)
{
	struct texts *x = arg;
	struct chunk_batch b = { .n = x->n, .chunks = x->chunks, .skip = x->skip };

	for (int i = 0; i < x->texts; i++) {
		b.ids[i] = x->ids[i];
		b.weights[i] = x->weights[i];
	}
	text_encoders_forward(t, &x->p->text, &b, x->made);
	return x->made[CONDITION_CONTEXT];
}

static void download(struct texts *x, struct conditioning *c)
{
	const struct conditioning shape = family_conditioning(x->p->config, chunks_length(x->chunks, x->length));

	*c = conditioning_like(&shape, x->n);
	for (int i = 0; i < CONDITIONS; i++)
		if (c->of[i].data && condition_is_text(i))
			tensor_download(x->p->work.tape, x->made[i], c->of[i].data);
}

/* ---- a prompt ---- */

static int encode(struct texts *x, const struct painting *w, struct conditioning *c, struct error *e)
{
	bool weighted;

	if (text_skip_check(x->p->config, x->skip, e) < 0 || read_text(x, 0, w->text, w->plain, e) < 0 ||
	    (x->n == 2 && read_text(x, 1, w->negative, w->plain, e) < 0))
		return -1;
	weighted = is_weighted(x);
	for (int i = 0; i < x->texts; i++)
		fill_encoder(x, i, weighted);
	if (!workspace_run(&x->p->work, forward, x, e))
		return -1;
	download(x, c);
	return 0;
}

int text_encode(struct pipeline *p, const struct painting *w, struct conditioning *c, struct error *e)
{
	struct texts x = { .p = p, .n = c->rows, .texts = p->config->family->texts, .chunks = 1,
			   .length = p->config->text[0].length, .skip = w->clip_skip };
	const int result = encode(&x, w, c, e);

	if (!result && x.n == 2 && w->zero_negative && !*w->negative)
		conditioning_zero(c, 1);
	for (int i = 0; i < TEXT_ENCODERS; i++) {
		free(x.ids[i]);
		free(x.weights[i]);
		for (int k = 0; k < 2; k++)
			weighted_tokens_free(&x.tokens[i][k]);
	}
	return result;
}
