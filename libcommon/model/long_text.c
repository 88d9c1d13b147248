/* Cutting long captions into chunks of tokens. */
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

int chunks_encode_weighted(const struct tokenizer *t, const char *text, int chunks, int length, int32_t *ids,
			   float *weights, struct error *e)
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
		note("%zu of %zu captions have more than %d tokens, and the rest of them is not read; "
		     "lora-prep --lint shows which%s", cut, captions,
		     chunks_length(chunks, length) - 2,
		     chunks < CHUNKS_MOST ? ", a greater max_token_length reads more" : "");
}
