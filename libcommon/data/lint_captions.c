/* Lint: captions with too many tokens, and tags that look misspelt. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "../base/map.h"
#include "lint_captions.h"

/* ---- too long ---- */

struct counter { struct tokenizer *const *t; struct error *e; };

/* Tokens of the first n bytes, with begin and end; the largest count of the tokenizers.  -1: *e. */
static int tokens_of(const struct counter *c, const char *text, size_t n)
{
	char *part = xstrndup(text, n);
	int most = 0, whole;

	for (int i = 0; i < TEXT_ENCODERS && most >= 0 && c->t[i]; i++) {
		int length = tokenizer_length(c->t[i]);
		int32_t *ids = xcalloc((size_t)length, sizeof(*ids));
		if (tokenizer_encode(c->t[i], part, length, ids, &whole, c->e) < 0)
			most = -1;
		else if (whole > most)
			most = whole;
		free(ids);
	}
	free(part);
	return most;
}

/* The offsets in bytes at which words end. */
static size_t *word_ends(const char *text, size_t n, size_t *count)
{
	size_t *end = NULL, capacity = 0;

	*count = 0;
	for (size_t i = 0; i < n; i++)
		if (text[i] != ' ' && (i + 1 == n || text[i + 1] == ' ')) {
			GROW(end, *count, capacity);
			end[(*count)++] = i + 1;
		}
	return end;
}

/* The number of bytes that are read: the most whole words that fit. */
static size_t read_part(const struct counter *c, const char *text, size_t n, int fits)
{
	size_t count, low = 0, high, *end = word_ends(text, n, &count), part;

	for (high = count; low < high; ) {
		size_t middle = (low + high + 1) / 2;
		if (tokens_of(c, text, end[middle - 1]) <= fits)
			low = middle;
		else
			high = middle - 1;
	}
	part = low ? end[low - 1] : 0;
	free(end);
	return part;
}

static int cut_line(struct findings *f, const struct counter *c, const char *path, const char *line, size_t n)
{
	int fits = tokenizer_length(c->t[0]), tokens = tokens_of(c, line, n);
	size_t kept;

	if (tokens <= fits)
		return tokens < 0 ? -1 : 0;
	kept = read_part(c, line, n, fits);
	while (kept < n && line[kept] == ' ')
		kept++;
	return finding_say(f, FINDING_LONG_CAPTION, path, "the caption has %d tokens, %d are read; "
							  "these words fall off: %.*s",
			   tokens - 2, fits - 2, (int)(n - kept), line + kept);
}

int captions_cut(struct findings *f, struct tokenizer *const t[TEXT_ENCODERS], const char *path, const char *caption)
{
	const struct counter c = { t, f->e };
	int status = 0;

	for (const char *line = caption; line && status == 0; ) {
		const char *end = strchr(line, '\n');
		status = cut_line(f, &c, path, line, end ? (size_t)(end - line) : strlen(line));
		line = end ? end + 1 : NULL;
	}
	return status;
}

/* ---- misspelled ---- */

struct tag {
	char *text;                     /* letters of ASCII in lower case, as the tokenizer reads them */
	size_t length, count;
	const char *path;               /* where it was first seen */
};

struct tags { struct map *index; struct tag *tag; size_t count, capacity; };

struct tags *tags_new(void)
{
	struct tags *t = xcalloc(1, sizeof(*t));

	t->index = map_new(1024);
	return t;
}

void tags_free(struct tags *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->count; i++)
		free(t->tag[i].text);
	free(t->tag);
	map_free(t->index);
	free(t);
}

static void add_tag(struct tags *t, const char *path, const char *text, size_t n)
{
	char *lower = xstrndup(text, n);
	long at;

	for (size_t i = 0; i < n; i++)
		lower[i] = isascii((unsigned char)lower[i]) ? (char)tolower((unsigned char)lower[i]) : lower[i];
	at = map_put(t->index, lower, n, (long)t->count);
	if (at >= 0) {
		t->tag[at].count++;
		free(lower);
		return;
	}
	GROW(t->tag, t->count, t->capacity);
	t->tag[t->count++] = (struct tag){ lower, n, 1, path };
}

void tags_add(struct tags *t, const struct caption_options *o, const char *path, const char *caption)
{
	struct tag_list tags = { 0 };

	caption_tags(o, caption, &tags);
	for (size_t i = 0; i < tags.count; i++)
		add_tag(t, path, tags.tag[i], strlen(tags.tag[i]));
	tag_list_free(&tags);
}

static bool within_character(char byte)
{
	return ((unsigned char)byte & 0xc0) == 0x80;
}

static size_t characters(const char *text, size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += !within_character(text[i]);
	return count;
}

static bool has_digit(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (isdigit((unsigned char)text[i]))
			return true;
	return false;
}

/* Do two different texts, without their common beginning and end, differ in one character each, or in two swapped? */
static bool one_letter_apart(const struct tag *a, const struct tag *b)
{
	size_t n = a->length, m = b->length, least = n < m ? n : m, head = 0, tail = 0;
	const char *x, *y;

	if (n > m + 4 || m > n + 4)
		return false;
	while (head < least && a->text[head] == b->text[head])
		head++;
	while (head && (within_character(a->text[head]) || within_character(b->text[head])))
		head--;
	while (tail < least - head && a->text[n - 1 - tail] == b->text[m - 1 - tail])
		tail++;
	while (tail && (within_character(a->text[n - tail]) || within_character(b->text[m - tail])))
		tail--;
	n -= head + tail;
	m -= head + tail;
	x = a->text + head;
	y = b->text + head;
	if (has_digit(x, n) || has_digit(y, m))
		return false;
	return (characters(x, n) <= 1 && characters(y, m) <= 1) || (n == 2 && m == 2 && x[0] == y[1] && x[1] == y[0]);
}

static const struct tag *meant(const struct tags *t, const struct tag *rare)
{
	const struct tag *best = NULL;

	for (size_t i = 0; i < t->count; i++) {
		const struct tag *other = &t->tag[i];
		if (other->count >= TAGS_RATIO * rare->count && (!best || other->count > best->count) &&
		    one_letter_apart(rare, other))
			best = other;
	}
	return best;
}

int tags_report(const struct tags *t, struct findings *f)
{
	int status = 0;

	for (size_t i = 0; i < t->count && status == 0; i++) {
		const struct tag *rare = &t->tag[i], *other = rare->length > 3 ? meant(t, rare) : NULL;
		if (other)
			status = finding_say(f, FINDING_TAG_TYPO, rare->path,
					     "\"%s\", in %zu captions, is one letter from \"%s\", in %zu", rare->text,
					     rare->count, other->text, other->count);
	}
	return status;
}
