/* One line of a caption, and one choice of each {a|b} in it. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "caption_wildcards.h"

static char *choose_line(const struct chooser *c, const char *caption)
{
	size_t lines = 1, n;

	for (const char *p = caption; *p; p++)
		lines += *p == '\n';
	if (lines > 1)
		for (uint32_t skip = c->choose(c->arg, (uint32_t)lines); skip; skip--)
			caption += strcspn(caption, "\n") + 1;
	n = strcspn(caption, "\n");
	return xstrndup(caption, n);
}

/* One of "a|b|c", which may be empty */
static void choose_one(const struct chooser *c, const char *choices, size_t n, struct buffer *out)
{
	const char *end = choices + n, *bar;
	uint32_t count = 1, pick;

	for (size_t i = 0; i < n; i++)
		count += choices[i] == '|';
	for (pick = c->choose(c->arg, count); pick; pick--)
		choices = memchr(choices, '|', end - choices) + 1;
	bar = memchr(choices, '|', end - choices);
	buffer_add(out, choices, (bar ? bar : end) - choices);
}

/* "{a|b}" is a choice; "{{" and "}}" are braces, from the left, as pairs.
 * A choice ends at the first single brace that closes. */
static size_t wildcard_length(const char *p)
{
	size_t n = 1;

	while (p[n] && (p[n] != '}' || p[n + 1] == '}'))
		n += p[n] == '}' ? 2 : 1;
	return p[n] && n > 1 ? n + 1 : 0;
}

/* Replaces the pairs "{{" and "}}" by single braces; a choice may hold them too. */
static char *single_braces(const char *text, size_t n)
{
	struct buffer b = { 0 };

	for (size_t i = 0; i < n; i++) {
		buffer_add(&b, text + i, 1);
		i += i + 1 < n && (text[i] == '{' || text[i] == '}') && text[i + 1] == text[i];
	}
	return buffer_steal(&b);
}

char *wildcards_choose(const struct chooser *c, const char *caption)
{
	struct buffer chosen = { 0 };
	char *line = choose_line(c, caption), *text;

	for (const char *p = line; *p; ) {
		bool pair = (*p == '{' || *p == '}') && p[1] == *p;
		size_t n = *p == '{' && !pair ? wildcard_length(p) : 0;
		if (n)
			choose_one(c, p + 1, n - 2, &chosen);
		else
			buffer_add(&chosen, p, pair ? 2 : 1);
		p += n ? n : pair ? 2 : 1;
	}
	free(line);
	line = buffer_steal(&chosen);
	text = single_braces(line, strlen(line));
	free(line);
	return text;
}
