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

/* ---- one option each: `--w 1024` ---- */

static int whole(const char *where, const char *option, const char *value, long low, long high, long *out,
		 struct error *e)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(value, &end, 10);
	if (end == value || *end || errno || n < low || n > high)
		return fail(e, EXIT_USAGE, "%s: --%s '%s' is no whole number from %ld to %ld", where, option,
			    value, low, high);
	*out = n;
	return 0;
}

static int read_width(const char *where, const char *value, struct prompt *p, struct error *e)
{
	return whole(where, "w", value, 1, 65536, &p->width, e);
}

static int read_height(const char *where, const char *value, struct prompt *p, struct error *e)
{
	return whole(where, "h", value, 1, 65536, &p->height, e);
}

static int read_steps(const char *where, const char *value, struct prompt *p, struct error *e)
{
	return whole(where, "s", value, 1, 1000, &p->steps, e);
}

static int read_seed(const char *where, const char *value, struct prompt *p, struct error *e)
{
	if (!seed_parse(value, &p->seed))
		return fail(e, EXIT_USAGE, "%s: --d '%s' is no seed; write a whole number from 0", where, value);
	p->has_seed = 1;
	return 0;
}

static int read_cfg(const char *where, const char *value, struct prompt *p, struct error *e)
{
	char *end;

	p->cfg = strtod(value, &end);
	if (end == value || *end || !(p->cfg >= 0 && p->cfg <= 1000))
		return fail(e, EXIT_USAGE, "%s: --l '%s' is no number from 0 to 1000", where, value);
	return 0;
}

static int read_negative(const char *where, const char *value, struct prompt *p, struct error *e)
{
	free(p->negative);
	p->negative = xstrdup(value);
	return 0;
}

static int read_sampler(const char *where, const char *value, struct prompt *p, struct error *e)
{
	free(p->sampler);
	p->sampler = xstrdup(value);
	return sampler_find(value, e) ? 0 : fail_at(e, where);
}

static const struct {
	const char *name;
	int (*read)(const char *where, const char *value, struct prompt *p, struct error *e);
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

int prompt_set(const char *where, const char *option, const char *value, struct prompt *p, struct error *e)
{
	size_t i;

	for (i = 0; i < sizeof(options) / sizeof(*options); i++)
		if (!strcasecmp(option, options[i].name))
			return options[i].read(where, value, p, e);
	return fail(e, EXIT_USAGE, "%s: unknown option '--%s'; --w --h --d --s --l --n --ss are known", where, option);
}

static int read_option(const char *where, char *text, struct prompt *p, struct error *e)
{
	size_t n = strcspn(text, " \t");
	char *value = text[n] ? text + n + 1 : text + n;

	text[n] = 0;
	return prompt_set(where, text, trim(value), p, e);
}

static int check_characters(const char *where, const char *text, struct error *e)
{
	const size_t n = strlen(text);
	size_t i, length;

	for (i = 0; i < n; i += length) {
		length = utf8_length((const unsigned char *)text + i, n - i);
		if (!length)
			return fail(e, EXIT_USAGE, "%s: byte %zu (0x%02x) is no valid UTF-8; save the text as UTF-8",
				    where, i, (unsigned char)text[i]);
	}
	return 0;
}

int prompt_parse(const char *where, const char *text, struct prompt_list *list, struct error *e)
{
	struct prompt p = { .cfg = -1, .where = xstrdup(where) };
	char *copy = xstrdup(text), *rest = strstr(copy, " --");
	int result = check_characters(where, text, e);

	if (rest)
		*rest = 0;
	p.text = xstrdup(trim(copy));
	while (rest && !result) {
		char *option = rest + 3, *next = strstr(option, " --");
		if (next)
			*next = 0;
		result = read_option(where, option, &p, e);
		rest = next;
	}
	free(copy);
	GROW(list->prompt, list->count, list->capacity);
	list->prompt[list->count++] = p;
	return result;
}

int prompt_parse_line(const char *name, int line, char *text, struct prompt_list *list, struct error *e)
{
	char *where;
	int result;

	if (line == 1 && !strncmp(text, "\xef\xbb\xbf", 3))       /* Windows editors put a byte order mark here */
		text += 3;
	if (*text == '#' || !*(text = trim(text)))
		return 0;
	where = xprintf("%s:%d", name, line);
	result = prompt_parse(where, text, list, e);
	free(where);
	return result;
}

/* The bytes of "<lora:NAME:WEIGHT>" at the beginning of a text, whose last > is there; 0: none is there.  Without it,
 * every < of a long text would be looked at to its end. */
static size_t adapter_length(const char *text, const char *last)
{
	if (text > last || (strncasecmp(text, "<lora:", 6) && strncasecmp(text, "<lyco:", 6)))
		return 0;
	return strcspn(text, ">") + 1;
}

void prompt_leave_adapters(const char *where, char *text)
{
	const char *last = strrchr(text, '>');
	char *from = text, *to = text;
	size_t n;

	while (last && *from) {
		n = adapter_length(from, last);
		if (n)
			warning("%s: %.*s is no word here: left out; name the file with --lora", where, (int)n, from);
		else
			*to++ = *from;
		from += n ? n : 1;
	}
	if (to == from)
		return;
	*to = 0;
	from = trim(text);
	memmove(text, from, strlen(from) + 1);
}

void prompt_free(struct prompt *p)
{
	free(p->text);
	free(p->negative);
	free(p->sampler);
	free(p->where);
}

void prompts_free(struct prompt_list *list)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		prompt_free(&list->prompt[i]);
	free(list->prompt);
	*list = (struct prompt_list){ 0 };
}
