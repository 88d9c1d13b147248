/* Byte pair encoding: the vocabulary, the ranked merges, and merging one word. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "../base/map.h"
#include "../base/memory.h"
#include "../base/utf8.h"
#include "bpe.h"

#define END_OF_WORD "</w>"

struct merge {
	int32_t left, right;
	int32_t rank;
	int32_t made;
};

struct bpe {
	struct map *vocabulary;         /* token to id, until bpe_end_merges() */
	int32_t inside[256], last[256]; /* ids of a byte inside a word and at its end */
	struct merge *merges;           /* in order of rank while they are added, then of (left, right) */
	size_t count, capacity;
};

static int32_t id_of(const struct bpe *b, const char *token, size_t n)
{
	return (int32_t)map_get(b->vocabulary, token, n);
}

/* A vocabulary file writes printable bytes of Latin-1 as themselves and the others, in order, as the characters from
 * U+0100 on: a space is U+0120. */
static bool printable(uint32_t byte)
{
	return (byte > ' ' && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);
}

static void byte_symbols(struct bpe *b, int unknown)
{
	uint32_t next = 0x100;

	for (uint32_t byte = 0; byte < 256; byte++) {
		char name[4 + sizeof(END_OF_WORD)];
		int n = utf8_encode(printable(byte) ? byte : next++, name), inside, last;

		strcpy(name + n, END_OF_WORD);
		inside = id_of(b, name, n);
		last = id_of(b, name, n + strlen(END_OF_WORD));
		b->inside[byte] = inside < 0 ? unknown : inside;
		b->last[byte] = last < 0 ? unknown : last;
	}
}

struct bpe *bpe_new(json_t *vocabulary, int unknown)
{
	struct bpe *b = xcalloc(1, sizeof(*b));
	const char *token;
	json_t *id;

	b->vocabulary = map_new(json_object_size(vocabulary));
	json_object_foreach(vocabulary, token, id)
		map_put(b->vocabulary, token, strlen(token), (long)json_integer_value(id));
	byte_symbols(b, unknown);
	return b;
}

/* Ids of bytes follow the order of their characters: first those that stand for themselves. */
static void byte_ids(struct bpe *b)
{
	int32_t id = 0;

	for (int others = 0; others < 2; others++)
		for (uint32_t byte = 0; byte < 256; byte++)
			if (printable(byte) != others) {
				b->inside[byte] = id;
				b->last[byte] = BPE_BYTES + id++;
			}
}

struct bpe *bpe_new_pairs(const unsigned char *pairs, size_t count)
{
	struct bpe *b = xcalloc(1, sizeof(*b));

	byte_ids(b);
	b->merges = xmalloc(count * sizeof(*b->merges));
	b->count = b->capacity = count;
	for (size_t i = 0; i < count; i++, pairs += BPE_PAIR)
		b->merges[i] = (struct merge){
			.left = pairs[0] | pairs[1] << 8, .right = pairs[2] | pairs[3] << 8, .rank = (int32_t)i,
			.made = (int32_t)(2 * BPE_BYTES + i),
		};
	bpe_end_merges(b);
	return b;
}

void bpe_free(struct bpe *b)
{
	if (!b)
		return;
	map_free(b->vocabulary);
	free(b->merges);
	free(b);
}

int bpe_add_merge(struct bpe *b, const char *left, size_t left_n, const char *right, size_t right_n, struct error *e)
{
	struct merge m = { id_of(b, left, left_n), id_of(b, right, right_n), (int32_t)b->count, -1 };
	char *both = xmalloc(left_n + right_n);

	memcpy(both, left, left_n);
	memcpy(both + left_n, right, right_n);
	m.made = id_of(b, both, left_n + right_n);
	free(both);
	if (m.left < 0 || m.right < 0 || m.made < 0)
		return fail(e, EXIT_INPUT, "the merge of \"%.*s\" and \"%.*s\" is not in the vocabulary; "
					   "the two belong to different models", (int)left_n, left, (int)right_n,
					   right);
	GROW(b->merges, b->count, b->capacity);
	b->merges[b->count++] = m;
	return 0;
}

static int compare_pair(const void *a, const void *b)
{
	const struct merge *x = a, *y = b;

	if (x->left != y->left)
		return x->left < y->left ? -1 : 1;
	return x->right < y->right ? -1 : x->right > y->right;
}

static int compare_pair_and_rank(const void *a, const void *b)
{
	const struct merge *x = a, *y = b;
	int order = compare_pair(a, b);

	return order ? order : x->rank < y->rank ? -1 : x->rank > y->rank;
}

void bpe_end_merges(struct bpe *b)
{
	size_t kept = 0;

	if (b->count)
		qsort(b->merges, b->count, sizeof(*b->merges), compare_pair_and_rank);
	for (size_t i = 0; i < b->count; i++)
		if (i + 1 == b->count || compare_pair(&b->merges[i], &b->merges[i + 1]))
			b->merges[kept++] = b->merges[i];
	b->count = kept;
	map_free(b->vocabulary);
	b->vocabulary = NULL;
}

/* ---- one word ---- */

/* The symbols of a word, in a list.  A merge replaces the left symbol and removes the right one. */
struct symbol {
	int32_t id;             /* -1: removed */
	size_t previous, next;  /* NONE at the ends */
};
#define NONE SIZE_MAX

/* A pair that may be merged.  It is stale once either of its symbols has changed. */
struct candidate {
	const struct merge *merge;
	size_t at;
};

struct word {
	struct symbol *symbols;
	struct candidate *heap; /* the best on top: lowest rank, then leftmost */
	size_t heaped;
};

static bool better(const struct candidate *a, const struct candidate *b)
{
	return a->merge->rank != b->merge->rank ? a->merge->rank < b->merge->rank : a->at < b->at;
}

static void push(struct word *w, struct candidate c)
{
	size_t i = w->heaped++;

	for (; i && better(&c, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = c;
}

static struct candidate pop(struct word *w)
{
	struct candidate top = w->heap[0], c = w->heap[--w->heaped];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < w->heaped) {
		if (child + 1 < w->heaped && better(&w->heap[child + 1], &w->heap[child]))
			child++;
		if (!better(&w->heap[child], &c))
			break;
		w->heap[i] = w->heap[child];
		i = child;
	}
	w->heap[i] = c;
	return top;
}

static void consider(const struct bpe *b, struct word *w, size_t at)
{
	struct merge pair;
	struct candidate c = { .at = at };

	if (at == NONE || w->symbols[at].next == NONE)
		return;
	pair.left = w->symbols[at].id;
	pair.right = w->symbols[w->symbols[at].next].id;
	c.merge = b->count ? bsearch(&pair, b->merges, b->count, sizeof(pair), compare_pair) : NULL;
	if (c.merge)
		push(w, c);
}

static void merge(const struct bpe *b, struct word *w, struct candidate c)
{
	struct symbol *left = &w->symbols[c.at], *right;

	if (left->id != c.merge->left || left->next == NONE)
		return;
	right = &w->symbols[left->next];
	if (right->id != c.merge->right)
		return;
	left->id = c.merge->made;
	right->id = -1;
	left->next = right->next;
	if (left->next != NONE)
		w->symbols[left->next].previous = c.at;
	consider(b, w, left->previous);
	consider(b, w, c.at);
}

size_t bpe_word(const struct bpe *b, const char *word, size_t n, int32_t *ids)
{
	struct word w = { 0 };
	size_t count = 0;

	w.symbols = xmalloc(n * sizeof(*w.symbols));
	w.heap = xmalloc(3 * n * sizeof(*w.heap));      /* n-1 pairs at first, two more with each of n-1 merges */
	for (size_t i = 0; i < n; i++) {
		unsigned char byte = word[i];
		w.symbols[i].id = i + 1 < n ? b->inside[byte] : b->last[byte];
		w.symbols[i].previous = i ? i - 1 : NONE;
		w.symbols[i].next = i + 1 < n ? i + 1 : NONE;
	}
	for (size_t i = 0; i < n; i++)
		consider(b, &w, i);
	while (w.heaped)
		merge(b, &w, pop(&w));
	for (size_t i = 0; i != NONE; i = w.symbols[i].next)
		ids[count++] = w.symbols[i].id;
	free(w.symbols);
	free(w.heap);
	return count;
}
