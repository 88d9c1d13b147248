#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "long_text.h"
#include "weighted_tokens.h"

int chunks_of(long max_token_length, int *chunks, struct error *e)
{
	static const struct { long tokens; int chunks; } rows[] = { { 75, 1 }, { 77, 1 }, { 150, 2 }, { 225, 3 } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (rows[i].tokens == max_token_length) {
			*chunks = rows[i].chunks;
			return 0;
		}
	return fail(e, EXIT_USAGE, "max_token_length %ld is none of 75, 150, 225", max_token_length);
}

int chunks_length(int chunks, int length)
{
	return chunks * (length - 2) + 2;
}

/* Where the padding is no end token, a chunk that the text fills still needs its end, and an empty one its first. */
static void mend_ends(const struct tokenizer *t, int length, int32_t *chunk)
{
	int end = tokenizer_eos(t), pad = tokenizer_pad(t);

	if (pad == end)
		return;
	if (chunk[length - 2] != end && chunk[length - 2] != pad)
		chunk[length - 1] = end;
	if (chunk[1] == pad)
		chunk[1] = end;
}

/* A row of ids for all chunks together, cut into them. */
static void cut_row(const struct tokenizer *t, const int32_t *all, int chunks, int length, int32_t *ids)
{
	int whole = chunks_length(chunks, length), inner = length - 2, i;

	for (i = 0; i < chunks; i++) {
		int32_t *chunk = ids + (size_t)i * length;
		chunk[0] = all[0];
		memcpy(chunk + 1, all + 1 + i * inner, inner * sizeof(*chunk));
		chunk[length - 1] = all[whole - 1];
		if (chunks > 1)
			mend_ends(t, length, chunk);
	}
}

int chunks_encode(const struct tokenizer *t, const char *text, int chunks, int length, int32_t *ids, struct error *e)
{
	int whole = chunks_length(chunks, length);
	int32_t *all = xmalloc(whole * sizeof(*all));
	int result = tokenizer_encode_padded(t, text, whole, all, e);

	if (result >= 0)
		cut_row(t, all, chunks, length, ids);
	free(all);
	return result < 0 ? -1 : 0;
}

static void put_weights(const struct weighted_tokens *w, int chunks, int length, float *weights)
{
	int inner = length - 2, i;

	for (i = 0; i < chunks * length; i++)
		weights[i] = 1;
	for (i = 0; i < w->count; i++)
		weights[i / inner * length + 1 + i % inner] = w->weight[i];
}

int chunks_encode_weighted(const struct tokenizer *t, const char *text, int chunks, int length, int32_t *ids, float *weights,
			   struct error *e)
{
	int whole = chunks_length(chunks, length), i, result;
	int32_t *all = xmalloc(whole * sizeof(*all));
	struct weighted_texts parts;
	struct weighted_tokens words;

	prompt_weights_parse(text, &parts);
	result = weighted_tokens_read(t, &parts, whole - 2, &words, e);
	if (result == 0) {
		all[0] = tokenizer_bos(t);
		memcpy(all + 1, words.id, words.count * sizeof(*all));
		all[words.count + 1] = tokenizer_eos(t);
		for (i = words.count + 2; i < whole; i++)
			all[i] = tokenizer_pad(t);
		cut_row(t, all, chunks, length, ids);
		put_weights(&words, chunks, length, weights);
	}
	weighted_tokens_free(&words);
	prompt_weights_free(&parts);
	free(all);
	return result;
}

static int cut_weighted(const struct tokenizer *t, const char *text, int room, struct error *e)
{
	struct weighted_texts parts;
	struct weighted_tokens words;
	int result;

	prompt_weights_parse(text, &parts);
	result = weighted_tokens_read(t, &parts, room + 1, &words, e) < 0 ? -1 : words.count > room;
	weighted_tokens_free(&words);
	prompt_weights_free(&parts);
	return result;
}

int chunks_cut(const struct tokenizer *t, const char *text, bool weighted, int chunks, int length, struct error *e)
{
	int whole = chunks_length(chunks, length), count = 0, result;
	int32_t *ids;

	if (weighted)
		return cut_weighted(t, text, whole - 2, e);
	ids = xmalloc(whole * sizeof(*ids));
	result = tokenizer_encode(t, text, whole, ids, &count, e);
	free(ids);
	return result < 0 ? -1 : count > whole;
}

void chunks_tell_cut(size_t cut, size_t captions, int chunks, int length)
{
	if (cut)
		note("%zu of %zu captions have more than %d tokens, and the rest of them is not read; lora-prep --lint shows which%s", cut, captions,
		     chunks_length(chunks, length) - 2, chunks < CHUNKS_MOST ? ", a greater max_token_length reads more" : "");
}

/* The first state of the first chunk, the inner ones of all, the last of the last. */
static struct tensor *join(struct tape *t, struct tensor *states, int n, int chunks, int length)
{
	int whole = chunks_length(chunks, length), i, k;
	int32_t *rows = xmalloc((size_t)n * whole * sizeof(*rows)), *row = rows;
	struct tensor *y;

	for (i = 0; i < n; i++) {
		int first = i * chunks * length;
		*row++ = first;
		for (k = 0; k < chunks * (length - 2); k++)
			*row++ = first + k / (length - 2) * length + 1 + k % (length - 2);
		*row++ = first + chunks * length - 1;
	}
	y = op_gather(t, states, rows, n * whole);
	y->n = n;
	y->h = whole;
	free(rows);
	return y;
}

static struct tensor *first_of_each(struct tape *t, struct tensor *pooled, int n, int chunks)
{
	int32_t *rows = xmalloc(n * sizeof(*rows));
	struct tensor *y;

	for (int i = 0; i < n; i++)
		rows[i] = i * chunks;
	y = op_gather(t, pooled, rows, n);
	free(rows);
	return y;
}

/* Where a token of the joined context stands in its text's chunks */
static int place_of(int token, int chunks, int length)
{
	int inner = length - 2;

	if (token == 0)
		return 0;
	if (token > chunks * inner)
		return chunks * length - 1;
	return (token - 1) / inner * length + 1 + (token - 1) % inner;
}

static struct tensor *weigh(struct tape *t, struct tensor *context, const struct chunk_batch *b, int length, int width1)
{
	int whole = chunks_length(b->chunks, length), i, k, c;
	float *z = xmalloc(tensor_count(context) * sizeof(*z)), *to = z;
	struct tensor *y;

	for (i = 0; i < b->n; i++)
		for (k = 0; k < whole; k++) {
			size_t at = (size_t)i * b->chunks * length + place_of(k, b->chunks, length);
			for (c = 0; c < context->c; c++)
				*to++ = c < width1 ? b->weights1[at] : b->weights2[at];
		}
	y = op_multiply(t, context, tensor_from(t, b->n, whole, 1, context->c, z)->data);
	free(z);
	return y;
}

struct tensor *chunks_context(struct tape *t, const struct clip *te1, const struct clip *te2, const struct chunk_batch *b,
			      struct tensor **pooled)
{
	struct clip_output one = { 0 }, two = { 0 };
	int length = clip_config(te1)->length;
	struct tensor *context;

	clip_forward(t, te1, b->ids1, b->n * b->chunks, false, &one);
	clip_forward(t, te2, b->ids2, b->n * b->chunks, true, &two);
	context = clip_context(t, one.penultimate, two.penultimate);
	*pooled = two.pooled;
	if (b->chunks > 1) {
		*pooled = first_of_each(t, two.pooled, b->n, b->chunks);
		context = join(t, context, b->n, b->chunks, length);
	}
	return b->weights1 ? weigh(t, context, b, length, clip_config(te1)->width) : context;
}
