#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../model/weighted_tokens.h"
#include "paint.h"
#include "text.h"

enum { PENULTIMATE = 2 };

struct texts {
	struct pipeline *p;
	struct weighted_tokens tokens[2][2];    /* [encoder][text] */
	int n, chunks, length;          /* length: of a chunk */
	int skip;
	int32_t *ids[2];                /* [encoder]: [n][chunks][length] */
	struct tensor *pooled;
};

/* ---- tokens ---- */

static int read_tokens(const struct tokenizer *t, const struct weighted_texts *parts, int most, struct weighted_tokens *out, struct error *e)
{
	if (weighted_tokens_read(t, parts, most, out, e) < 0)
		return -1;
	return out->cut ? fail(e, EXIT_USAGE, "a prompt of more than %d tokens; shorten it", most) : 0;
}

static int read_text(struct texts *x, int index, const char *text, bool plain, struct error *e)
{
	const struct tokenizer *const tokenizer[2] = { x->p->tokenizer1, x->p->tokenizer2 };
	struct weighted_text self = { (char *)text, 1 };
	struct weighted_texts parts = { &self, 1, 0 };
	int i, inner = x->length - 2, result = 0;

	if (!plain)
		prompt_weights_parse(text, &parts);
	for (i = 0; i < 2 && !result; i++) {
		struct weighted_tokens *t = &x->tokens[i][index];
		result = read_tokens(tokenizer[i], &parts, PROMPT_CHUNKS_MOST * inner, t, e);
		if ((t->count + inner - 1) / inner > x->chunks)
			x->chunks = (t->count + inner - 1) / inner;
	}
	if (!plain)
		prompt_weights_free(&parts);
	return result;
}

static void fill_chunk(const struct tokenizer *t, const struct weighted_tokens *tokens, int chunk, int length, int32_t *ids)
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

static void fill_chunks(struct texts *x)
{
	const struct tokenizer *const tokenizer[2] = { x->p->tokenizer1, x->p->tokenizer2 };
	int encoder, i;

	for (encoder = 0; encoder < 2; encoder++) {
		x->ids[encoder] = xmalloc((size_t)x->n * x->chunks * x->length * sizeof(int32_t));
		for (i = 0; i < x->n * x->chunks; i++)
			fill_chunk(tokenizer[encoder], &x->tokens[encoder][i / x->chunks], i % x->chunks, x->length,
				   x->ids[encoder] + (size_t)i * x->length);
	}
}

/* ---- states ---- */

static struct tensor *states(struct tape *t, const struct texts *x, int encoder, struct clip_output *out)
{
	const struct clip *clip = encoder ? x->p->te2 : x->p->te1;
	int layers = clip_config(clip)->layers;
	struct tensor *y;

	if (x->skip != PENULTIMATE)
		out->hidden = xcalloc(layers + 1, sizeof(*out->hidden));
	clip_forward(t, clip, x->ids[encoder], x->n * x->chunks, encoder == 1, out);
	y = out->hidden ? out->hidden[layers + 1 - x->skip] : out->penultimate;
	free(out->hidden);
	return y;
}

static struct tensor *forward(struct tape *t, void *arg)
{
	struct texts *x = arg;
	struct clip_output one = { 0 }, two = { 0 };
	struct tensor *first = states(t, x, 0, &one), *second = states(t, x, 1, &two);

	x->pooled = two.pooled;
	return clip_context(t, first, second);
}

static void scale(float *x, int n, const struct weighted_tokens *tokens, int token)
{
	int i;

	if (token >= tokens->count || tokens->weight[token] == 1)
		return;
	for (i = 0; i < n; i++)
		x[i] *= tokens->weight[token];
}

/* One text's states [chunks][length][width] to one row of the context. */
static void join_chunks(const struct texts *x, int index, const float *states, float *out)
{
	size_t width = x->p->config->unet.context, width1 = x->p->config->te1.width;
	int inner = x->length - 2, i;

	memcpy(out, states, width * sizeof(*out));
	for (i = 0; i < x->chunks * inner; i++) {
		float *to = out + (1 + i) * width;
		memcpy(to, states + ((size_t)(i / inner) * x->length + 1 + i % inner) * width, width * sizeof(*out));
		scale(to, width1, &x->tokens[0][index], i);
		scale(to + width1, width - width1, &x->tokens[1][index], i);
	}
	memcpy(out + (1 + (size_t)x->chunks * inner) * width, states + ((size_t)x->chunks * x->length - 1) * width, width * sizeof(*out));
}

static void download(struct texts *x, struct tensor *y, struct conditioning *c)
{
	struct tape *t = x->p->work.tape;
	size_t width = x->p->config->unet.context, pooled = x->p->config->unet.pooled, chunk = x->length * width;
	float *all = xmalloc(tensor_count(y) * sizeof(*all)), *pools = xmalloc(tensor_count(x->pooled) * sizeof(*pools));
	int i;

	tensor_download(t, y, all);
	tensor_download(t, x->pooled, pools);
	c->length = x->chunks * (x->length - 2) + 2;
	c->context = xmalloc((size_t)c->n * c->length * width * sizeof(*c->context));
	c->pooled = xmalloc(c->n * pooled * sizeof(*c->pooled));
	for (i = 0; i < c->n; i++) {
		join_chunks(x, i, all + (size_t)i * x->chunks * chunk, c->context + (size_t)i * c->length * width);
		memcpy(c->pooled + i * pooled, pools + (size_t)i * x->chunks * pooled, pooled * sizeof(*pools));
	}
	free(all);
	free(pools);
}

/* ---- all of it ---- */

static int check_skip(const struct texts *x, struct error *e)
{
	int one = x->p->config->te1.layers, two = x->p->config->te2.layers, least = one < two ? one : two;

	if (x->skip >= PENULTIMATE && x->skip <= least + 1)
		return 0;
	return fail(e, EXIT_USAGE, "clip skip %d; with this model's text encoders it is from 2 (SDXL's own) to %d", x->skip, least + 1);
}

static int encode(struct texts *x, const struct painting *w, struct conditioning *c, struct error *e)
{
	struct tensor *y;

	if (check_skip(x, e) < 0 || read_text(x, 0, w->text, w->plain, e) < 0 ||
	    (c->n == 2 && read_text(x, 1, w->negative, w->plain, e) < 0))
		return -1;
	fill_chunks(x);
	y = workspace_run(&x->p->work, forward, x, e);
	if (!y)
		return -1;
	download(x, y, c);
	return 0;
}

static void zero_second(const struct pipeline *p, struct conditioning *c)
{
	size_t context = (size_t)c->length * p->config->unet.context, pooled = p->config->unet.pooled;

	memset(c->context + context, 0, context * sizeof(*c->context));
	memset(c->pooled + pooled, 0, pooled * sizeof(*c->pooled));
}

int text_encode(struct pipeline *p, const struct painting *w, struct conditioning *c, struct error *e)
{
	struct texts x = { .p = p, .n = c->n, .chunks = 1, .length = p->config->te1.length, .skip = w->clip_skip ? w->clip_skip : PENULTIMATE };
	int i, k, result = encode(&x, w, c, e);

	if (!result && c->n == 2 && w->zero_negative && !*w->negative)
		zero_second(p, c);
	for (i = 0; i < 2; i++) {
		free(x.ids[i]);
		for (k = 0; k < 2; k++)
			weighted_tokens_free(&x.tokens[i][k]);
	}
	return result;
}

void conditioning_free(struct conditioning *c)
{
	free(c->context);
	free(c->pooled);
	*c = (struct conditioning){ 0 };
}
