#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "long_text.h"

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

int chunks_encode(const struct tokenizer *t, const char *text, int chunks, int length, int32_t *ids, struct error *e)
{
	int whole = chunks_length(chunks, length), inner = length - 2, i;
	int32_t *all;

	if (chunks == 1)
		return tokenizer_encode_padded(t, text, length, ids, e);
	all = xmalloc(whole * sizeof(*all));
	if (tokenizer_encode_padded(t, text, whole, all, e) < 0) {
		free(all);
		return -1;
	}
	for (i = 0; i < chunks; i++) {
		int32_t *chunk = ids + (size_t)i * length;
		chunk[0] = all[0];
		memcpy(chunk + 1, all + 1 + i * inner, inner * sizeof(*chunk));
		chunk[length - 1] = all[whole - 1];
		mend_ends(t, length, chunk);
	}
	free(all);
	return 0;
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

struct tensor *chunks_context(struct tape *t, const struct clip *te1, const struct clip *te2, const int32_t *ids1,
			      const int32_t *ids2, int n, int chunks, struct tensor **pooled)
{
	struct clip_output one = { 0 }, two = { 0 };
	struct tensor *context;

	clip_forward(t, te1, ids1, n * chunks, false, &one);
	clip_forward(t, te2, ids2, n * chunks, true, &two);
	context = clip_context(t, one.penultimate, two.penultimate);
	*pooled = two.pooled;
	if (chunks == 1)
		return context;
	*pooled = first_of_each(t, two.pooled, n, chunks);
	return join(t, context, n, chunks, clip_config(te1)->length);
}
