/* Cutting captions into tags and joining them; all tags of all variants of a caption. */
#include <stdlib.h>
#include <string.h>
#include "../base/map.h"
#include "../base/memory.h"
#include "caption_tags.h"
#include "caption_wildcards.h"

#define MOST_VARIANTS 1000      /* of one line that are looked at; further choices of {a|b|...} are not counted */

const char *caption_separator(const struct caption_options *o)
{
	return o->separator ? o->separator : ",";
}

static void add_tag(struct tag_list *t, const char *text, size_t n, bool empty_too)
{
	static const char blanks[] = " \t\r\v\f\n";

	while (n && strchr(blanks, *text)) {
		text++;
		n--;
	}
	while (n && strchr(blanks, text[n - 1]))
		n--;
	if (!n && !empty_too)
		return;
	GROW(t->tag, t->count, t->capacity);
	t->tag[t->count++] = xstrndup(text, n);
}

static void split(struct tag_list *t, const char *text, size_t n, const char *separator, bool empty_too)
{
	const char *end = text + n, *next;
	size_t width = strlen(separator);

	for (; (next = memmem(text, end - text, separator, width)); text = next + width)
		add_tag(t, text, next - text, empty_too);
	add_tag(t, text, end - text, empty_too);
}

void tag_list_free(struct tag_list *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->tag[i]);
	free(t->tag);
	*t = (struct tag_list){ 0 };
}

void tags_cut(const struct caption_options *o, const char *text, struct tag_list part[3])
{
	const char *first = o->keep_separator ? strstr(text, o->keep_separator) : NULL, *second;
	size_t width = first ? strlen(o->keep_separator) : 0, keep;
	const char *between = caption_separator(o);

	if (first) {
		second = strstr(first + width, o->keep_separator);
		split(&part[0], text, first - text, between, false);
		split(&part[1], first + width, second ? (size_t)(second - first) - width : strlen(first + width),
		      between, false);
		if (second)
			split(&part[2], second + width, strlen(second + width), between, false);
		return;
	}
	split(&part[1], text, strlen(text), between, true);
	keep = (size_t)o->keep_tokens < part[1].count ? (size_t)o->keep_tokens : part[1].count;
	for (size_t i = 0; i < keep; i++)
		add_tag(&part[0], part[1].tag[i], strlen(part[1].tag[i]), true);
	for (size_t i = 0; i < keep; i++)
		free(part[1].tag[i]);
	part[1].count -= keep;
	memmove(part[1].tag, part[1].tag + keep, part[1].count * sizeof(*part[1].tag));
}

/* Adds the separator and one blank: "a; b" for "; " and ";" alike, "a, b" for a comma. */
static void add_separator(struct buffer *b, const char *separator)
{
	size_t n = strlen(separator);

	while (n && separator[n - 1] == ' ')
		n--;
	buffer_add(b, separator, n);
	buffer_adds(b, " ");
}

char *tags_join(const struct caption_options *o, const struct tag_list part[3])
{
	struct buffer b = { 0 };
	size_t before = 0;

	for (int p = 0; p < 3; p++)
		for (size_t i = 0; i < part[p].count; i++) {
			if (before++)
				add_separator(&b, caption_separator(o));
			buffer_adds(&b, part[p].tag[i]);
		}
	return buffer_steal(&b);
}

/* ---- every tag of a caption ---- */

/* A chooser that takes the n-th choice everywhere, or the last where there are fewer. */
struct nth { uint32_t n, most; };

static uint32_t take_nth(void *arg, uint32_t n)
{
	struct nth *x = arg;

	x->most = n > x->most ? n : x->most;
	return x->n < n ? x->n : n - 1;
}

static void split_words(struct tag_list *out, const struct caption_options *o, const char *text)
{
	struct tag_list part[3] = { 0 };

	tags_cut(o, text, part);
	for (int p = 0; p < 3; p++)
		for (size_t i = 0; i < part[p].count; i++) {
			const char *tag = part[p].tag[i];

			if (o->second_separator)
				split(out, tag, strlen(tag), o->second_separator, false);
			else
				add_tag(out, tag, strlen(tag), false);
		}
	for (int p = 0; p < 3; p++)
		tag_list_free(&part[p]);
}

/* Adds the tags of variant number `variant` that no earlier variant has. */
static void add_new(struct tag_list *out, struct map *seen, long variant, struct tag_list *from)
{
	for (size_t i = 0; i < from->count; i++) {
		char *tag = from->tag[i];
		const long first = map_put(seen, tag, strlen(tag), variant);

		if (first >= 0 && first != variant)
			continue;
		GROW(out->tag, out->count, out->capacity);
		out->tag[out->count++] = tag;
		from->tag[i] = NULL;
	}
}

static void add_variants(struct tag_list *out, struct map *seen, long *variant, const struct caption_options *o,
			 const char *line)
{
	struct nth nth = { 0, 1 };

	for (; nth.n < nth.most && nth.n < MOST_VARIANTS; nth.n++) {
		char *text = wildcards_choose(&(struct chooser){ take_nth, &nth }, line);
		struct tag_list tags = { 0 };

		split_words(&tags, o, text);
		add_new(out, seen, (*variant)++, &tags);
		tag_list_free(&tags);
		free(text);
	}
}

void caption_tags(const struct caption_options *o, const char *caption, struct tag_list *out)
{
	struct map *seen = map_new(64);
	const char *at = caption;
	long variant = 0;

	do {
		const size_t n = strcspn(at, "\n");
		char *line = xstrndup(at, n);

		if (o->wildcard)
			add_variants(out, seen, &variant, o, line);
		else
			split_words(out, o, line);
		free(line);
		at += n + (at[n] != 0);
	} while (o->wildcard && *at);
	map_free(seen);
}
