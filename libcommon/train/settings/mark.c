/* The settings that make a run, its mark, and the difference between two runs. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "../../base/hash.h"
#include "../../base/memory.h"
#include "mark.h"
#include "settings.h"

/* Does this line make another run?  A key without a row, of an older or later version, does. */
static bool makes_another(const struct tool *tool, const char *line)
{
	char *key = xstrndup(line, strcspn(line, " "));
	const struct option *o = option_by_key(tool, key);

	free(key);
	return !o || o->identity == IDENTITY_RUN;
}

static size_t line_length(const char *line)
{
	return strcspn(line, "\n");
}

static const char *next_line(const char *line)
{
	line += line_length(line);
	return line + (*line == '\n');
}

/* The line of text with the first n bytes of key; NULL: none. */
static const char *line_with(const char *text, const char *key, size_t n)
{
	for (; *text; text = next_line(text))
		if (!strncmp(text, key, n))
			return text;
	return NULL;
}

static bool same_line(const char *a, const char *b)
{
	return a && b && line_length(a) == line_length(b) && !memcmp(a, b, line_length(a));
}

/* "key = " */
static size_t key_length(const char *line)
{
	const size_t n = strcspn(line, "=\n");

	return line[n] == '=' && line[n + 1] == ' ' ? n + 2 : n;
}

char *mark_settings(const char *config, const char *defaults)
{
	struct train_settings scratch;
	const struct tool tool = { .table = train_options(&scratch) };
	struct buffer kept = { 0 };

	for (; *config; config = next_line(config))
		if (makes_another(&tool, config) && !same_line(config, line_with(defaults, config, key_length(config))))
			buffer_addf(&kept, "%.*s\n", (int)line_length(config), config);
	free((void *)tool.table);
	return buffer_steal(&kept);
}

void run_mark(const char *identity, const char *settings, char mark[MARK_SIZE])
{
	struct sha256 h;
	char hex[65];

	sha256_begin(&h);
	sha256_add(&h, identity, strlen(identity) + 1);
	sha256_add(&h, settings, strlen(settings));
	sha256_hex(&h, hex);
	memcpy(mark, hex, MARK_SIZE - 1);
	mark[MARK_SIZE - 1] = 0;
}

/* The difference as text; a line without counterpart is compared with the default. */
static char *told(const char *key, const char *was, const char *is)
{
	const int n = key_length(key) - 3;

	if (!is)
		return xprintf("%.*s, this one the default of %.*s", (int)line_length(was), was, n, key);
	if (!was)
		return xprintf("the default of %.*s, this one %.*s", n, key, (int)line_length(is), is);
	return xprintf("%.*s, this one %.*s", (int)line_length(was), was, (int)line_length(is) - n - 3, is + n + 3);
}

char *settings_difference(const char *was, const char *is)
{
	const char *line, *other;

	for (line = was; *line; line = next_line(line)) {
		other = line_with(is, line, key_length(line));
		if (!same_line(line, other))
			return told(line, line, other);
	}
	for (line = is; *line; line = next_line(line))
		if (!line_with(was, line, key_length(line)))
			return told(line, NULL, line);
	return NULL;
}
