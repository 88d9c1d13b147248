/* A prompt with its " --x value" settings, from a line of text. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "../base/memory.h"
#include "../base/utf8.h"
#include "../config/seed.h"
#include "prompt.h"
#include "sampler.h"

struct place { const char *name; int line; };

/* ---- one option each: `--w 1024` ---- */

static int whole(const struct place *at, const char *option, const char *value, long low, long high, long *out,
		 struct error *e)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(value, &end, 10);
	if (end == value || *end || errno || n < low || n > high)
		return fail(e, EXIT_USAGE, "%s:%d: --%s '%s' is no whole number from %ld to %ld", at->name, at->line,
			    option, value, low, high);
	*out = n;
	return 0;
}

static int read_width(const struct place *at, const char *value, struct prompt *p, struct error *e)
{
	return whole(at, "w", value, 1, 65536, &p->width, e);
}

static int read_height(const struct place *at, const char *value, struct prompt *p, struct error *e)
{
	return whole(at, "h", value, 1, 65536, &p->height, e);
}

static int read_steps(const struct place *at, const char *value, struct prompt *p, struct error *e)
{
	return whole(at, "s", value, 1, 1000, &p->steps, e);
}

static int read_seed(const struct place *at, const char *value, struct prompt *p, struct error *e)
{
	if (!seed_parse(value, &p->seed))
		return fail(e, EXIT_USAGE, "%s:%d: --d '%s' is no seed; write a whole number from 0", at->name,
			    at->line, value);
	p->has_seed = 1;
	return 0;
}

static int read_cfg(const struct place *at, const char *value, struct prompt *p, struct error *e)
{
	char *end;

	p->cfg = strtod(value, &end);
	if (end == value || *end || !(p->cfg >= 0 && p->cfg <= 1000))
		return fail(e, EXIT_USAGE, "%s:%d: --l '%s' is no number from 0 to 1000", at->name, at->line, value);
	return 0;
}

static int read_negative(const struct place *at, const char *value, struct prompt *p, struct error *e)
{
	free(p->negative);
	p->negative = xstrdup(value);
	return 0;
}

static int read_sampler(const struct place *at, const char *value, struct prompt *p, struct error *e)
{
	char *where;

	free(p->sampler);
	p->sampler = xstrdup(value);
	if (sampler_find(value, e))
		return 0;
	where = xprintf("%s:%d", at->name, at->line);
	fail_at(e, where);
	free(where);
	return -1;
}

static const struct {
	const char *name;
	int (*read)(const struct place *at, const char *value, struct prompt *p, struct error *e);
} options[] = {
	{ "w", read_width }, { "h", read_height }, { "d", read_seed }, { "seed", read_seed }, { "s", read_steps },
	{ "l", read_cfg }, { "n", read_negative }, { "ss", read_sampler },
};

static char *trim(char *s)
{
	size_t n;

	s += strspn(s, " \t");
	for (n = strlen(s); n && strchr(" \t\r\n", s[n - 1]); n--)
		s[n - 1] = 0;
	return s;
}

int prompt_set(const char *name, int line, const char *option, const char *value, struct prompt *p, struct error *e)
{
	const struct place at = { name, line };
	size_t i;

	for (i = 0; i < sizeof(options) / sizeof(*options); i++)
		if (!strcasecmp(option, options[i].name))
			return options[i].read(&at, value, p, e);
	return fail(e, EXIT_USAGE, "%s:%d: unknown option '--%s'; --w --h --d --s --l --n --ss are known", name, line,
		    option);
}

static int read_option(const struct place *at, char *text, struct prompt *p, struct error *e)
{
	size_t n = strcspn(text, " \t");
	char *value = text[n] ? text + n + 1 : text + n;

	text[n] = 0;
	return prompt_set(at->name, at->line, text, trim(value), p, e);
}

static int check_characters(const struct place *at, const char *text, struct error *e)
{
	const size_t n = strlen(text);
	size_t i, length;

	for (i = 0; i < n; i += length) {
		length = utf8_length((const unsigned char *)text + i, n - i);
		if (!length)
			return fail(e, EXIT_USAGE, "%s:%d: byte %zu (0x%02x) is no valid UTF-8; save the text as UTF-8",
				    at->name, at->line, i, (unsigned char)text[i]);
	}
	return 0;
}

int prompt_parse(const char *name, int line, const char *text, struct prompt_list *list, struct error *e)
{
	struct place at = { name, line };
	struct prompt p = { .cfg = -1, .line = line };
	char *copy = xstrdup(text), *rest = strstr(copy, " --");
	int result = check_characters(&at, text, e);

	if (rest)
		*rest = 0;
	p.text = xstrdup(trim(copy));
	while (rest && !result) {
		char *option = rest + 3, *next = strstr(option, " --");
		if (next)
			*next = 0;
		result = read_option(&at, option, &p, e);
		rest = next;
	}
	free(copy);
	GROW(list->prompt, list->count, list->capacity);
	list->prompt[list->count++] = p;
	return result;
}

int prompt_parse_line(const char *name, int line, char *text, struct prompt_list *list, struct error *e)
{
	if (line == 1 && !strncmp(text, "\xef\xbb\xbf", 3))       /* Windows editors put a byte order mark here */
		text += 3;
	if (*text == '#' || !*(text = trim(text)))
		return 0;
	return prompt_parse(name, line, text, list, e);
}

void prompts_free(struct prompt_list *list)
{
	size_t i;

	for (i = 0; i < list->count; i++) {
		free(list->prompt[i].text);
		free(list->prompt[i].negative);
		free(list->prompt[i].sampler);
	}
	free(list->prompt);
	*list = (struct prompt_list){ 0 };
}
