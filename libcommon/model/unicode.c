/* Character properties, and normalization form C. */
#include <stdbool.h>
#include <stdlib.h>
#include "../base/memory.h"
#include "unicode.h"
#include "unicode_tables.h"

#define LENGTH(table) (sizeof(table) / sizeof((table)[0]))

/* ---- properties; every range begins with `uint32_t first, last`, so one search serves all tables ---- */

static int compare_range(const void *key, const void *element)
{
	uint32_t code = *(const uint32_t *)key;
	const uint32_t *range = element;

	return code < range[0] ? -1 : code > range[1];
}

#define FIND(code, table) bsearch(&(code), (table), LENGTH(table), sizeof((table)[0]), compare_range)

enum unicode_class unicode_class(uint32_t code)
{
	if (FIND(code, LETTERS))
		return UNICODE_LETTER;
	if (FIND(code, SPACES))
		return UNICODE_SPACE;
	return FIND(code, NUMBERS) ? UNICODE_NUMBER : UNICODE_OTHER;
}

int unicode_lower(uint32_t code, uint32_t lower[2])
{
	const struct lower_range *r = FIND(code, LOWER);

	lower[0] = code;
	if (r && (code - r->first) % r->step == 0)
		lower[0] = code + r->distance;
	lower[1] = 0x307;
	return code == 0x130 ? 2 : 1;
}

static unsigned mark_order(uint32_t code)
{
	const struct mark_range *r = FIND(code, MARKS);

	return r ? r->order : 0;
}

/* ---- normalization form C (UAX 15) ---- */

enum { HANGUL = 0xac00, JAMO_L = 0x1100, JAMO_V = 0x1161, JAMO_T = 0x11a7, N_L = 19, N_V = 21, N_T = 28 };

/* A character with its place and its combining class on top, so that sorting the numbers is the canonical order. */
struct sequence {
	uint64_t *at;
	size_t n, capacity;
};
#define CODE(element) ((uint32_t)(element) & 0x1fffff)
#define ORDER(element) ((element) >> 56)

static void append(struct sequence *s, uint32_t code)
{
	GROW(s->at, s->n, s->capacity);
	s->at[s->n] = (uint64_t)mark_order(code) << 56 | (uint64_t)s->n << 21 | code;
	s->n++;
}

static int compare_code(const void *key, const void *element)
{
	uint32_t code = *(const uint32_t *)key, other = ((const struct decomposition *)element)->code;

	return code < other ? -1 : code > other;
}

static void decompose(struct sequence *s, uint32_t code)
{
	uint32_t syllable = code - HANGUL;
	const struct decomposition *d;

	if (syllable < N_L * N_V * N_T) {
		append(s, JAMO_L + syllable / (N_V * N_T));
		append(s, JAMO_V + syllable / N_T % N_V);
		if (syllable % N_T)
			append(s, JAMO_T + syllable % N_T);
		return;
	}
	d = bsearch(&code, DECOMPOSITIONS, LENGTH(DECOMPOSITIONS), sizeof(DECOMPOSITIONS[0]), compare_code);
	if (!d) {
		append(s, code);
		return;
	}
	decompose(s, d->first);         /* the second never decomposes further */
	if (d->second)
		append(s, d->second);
}

static int compare_element(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void sort_marks(struct sequence *s)
{
	for (size_t i = 0, end; i < s->n; i = end) {
		for (end = i; end < s->n && ORDER(s->at[end]); end++)
			;
		if (end - i > 1)
			qsort(s->at + i, end - i, sizeof(s->at[0]), compare_element);
		end += end == i;
	}
}

static int compare_pair(const void *key, const void *element)
{
	const uint32_t *pair = key;
	const struct decomposition *d = &DECOMPOSITIONS[*(const uint16_t *)element];

	if (pair[0] != d->first)
		return pair[0] < d->first ? -1 : 1;
	return pair[1] < d->second ? -1 : pair[1] > d->second;
}

/* The character that first and second make together, or 0. */
static uint32_t compose(uint32_t first, uint32_t second)
{
	uint32_t pair[2] = { first, second };
	const uint16_t *found;

	if (first - JAMO_L < N_L && second - JAMO_V < N_V)
		return HANGUL + ((first - JAMO_L) * N_V + (second - JAMO_V)) * N_T;
	if (first - HANGUL < N_L * N_V * N_T && (first - HANGUL) % N_T == 0 && second - JAMO_T - 1 < N_T - 1)
		return first + (second - JAMO_T);
	found = bsearch(pair, COMPOSITIONS, LENGTH(COMPOSITIONS), sizeof(COMPOSITIONS[0]), compare_pair);
	return found ? DECOMPOSITIONS[*found].code : 0;
}

int unicode_decompose(uint32_t code, uint32_t parts[4])
{
	struct sequence s = { 0 };
	int n;

	decompose(&s, code);
	sort_marks(&s);
	for (n = 0; n < 4 && n < (int)s.n; n++)
		parts[n] = CODE(s.at[n]);
	free(s.at);
	return n;
}

bool unicode_is_mark(uint32_t code)
{
	return mark_order(code) > 0;
}

uint32_t *unicode_nfc(const uint32_t *codes, size_t n, size_t *count)
{
	struct sequence s = { 0 };
	uint32_t *out;
	size_t starter = 0, used = 0;
	uint64_t last = 0;              /* combining class of the character last kept behind the starter */
	bool started = false;

	for (size_t i = 0; i < n; i++)
		decompose(&s, codes[i]);
	sort_marks(&s);
	out = xmalloc(s.n * sizeof(*out));
	for (size_t i = 0; i < s.n; i++) {
		uint32_t code = CODE(s.at[i]), both = 0;
		uint64_t order = ORDER(s.at[i]);

		/* A mark reaches the starter unless one of its own class or, for a starter, any mark stands between. */
		if (started && (used == starter + 1 || last < order))
			both = compose(out[starter], code);
		if (both) {
			out[starter] = both;
			continue;
		}
		if (!order) {
			starter = used;
			started = true;
		}
		last = order;
		out[used++] = code;
	}
	free(s.at);
	*count = used;
	return out;
}
