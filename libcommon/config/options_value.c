/* Values of options from text and back, one rule for each kind of option. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "../base/printable.h"
#include "../base/utf8.h"
#include "options_private.h"

/* Every text that a value ever pointed to: a caller may still hold one after a later source replaced it. */
static struct {
	char **text;
	size_t count, capacity;
} kept;

static char *keep(char *text)
{
	GROW(kept.text, kept.count, kept.capacity);
	return kept.text[kept.count++] = text;
}

bool option_has_value(const struct option *o)
{
	return o->kind != OPTION_SECTION;
}

bool option_is_flag(const struct option *o)
{
	return o->kind == OPTION_FLAG || o->kind == OPTION_SWITCH;
}

bool option_word_is_optional(const struct option *o)
{
	const char *close = o->argument ? strrchr(o->argument, ']') : NULL;

	return close && !close[1] && o->argument[0] == '[';
}

const char *option_key(const struct option *o, char buffer[KEY_SIZE])
{
	size_t n = o->name ? strlen(o->name) : 0;

	if (o->kind == OPTION_SECTION || (o->key && !*o->key) || n >= KEY_SIZE)
		return NULL;
	if (o->key)
		return o->key;
	for (size_t i = 0; i <= n; i++)
		buffer[i] = o->name[i] == '-' ? '_' : o->name[i];
	return buffer;
}

bool option_takes_pairs(const struct option *o)
{
	char buffer[KEY_SIZE];
	const char *key = option_key(o, buffer);
	size_t n = key ? strlen(key) : 0;

	return o->kind == OPTION_LIST && n > 5 && !strcmp(key + n - 5, "_args");
}

const char *option_file_key(const struct option *o, char buffer[KEY_SIZE])
{
	return option_has_value(o) ? option_key(o, buffer) : NULL;
}

const struct option *option_by_key(const struct tool *tool, const char *key)
{
	char buffer[KEY_SIZE];

	for (const struct option *o = tool->table; o->name || o->help; o++) {
		const char *own = option_key(o, buffer);
		if (own && !strcmp(own, key))
			return o;
	}
	return NULL;
}

static bool limited(const struct option *o)
{
	return o->min != 0 || o->max != 0;
}

void option_add_number(struct buffer *out, double x)
{
	char text[40];
	size_t mantissa;

	if (x == floor(x) && fabs(x) < 1e15) {          /* 1000000 rather than 1e+06 */
		buffer_addf(out, "%.0f", x);
		return;
	}
	for (int digits = 6; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, x);
		if (strtod(text, NULL) == x)
			break;
	}
	mantissa = strcspn(text, "e");
	if (text[mantissa] && text[mantissa + 2] == '0')        /* 2e-6 rather than 2e-06 */
		memmove(text + mantissa + 2, text + mantissa + 3, strlen(text + mantissa + 3) + 1);
	buffer_adds(out, text);
}

static void add_limits(const struct option *o, struct buffer *out)
{
	if (!limited(o))
		return;
	buffer_adds(out, o->above_min ? " above " : " from ");
	option_add_number(out, o->min);
	if (isinf(o->max)) {
		buffer_adds(out, " up");
		return;
	}
	buffer_adds(out, o->above_min ? " and up to " : " to ");
	option_add_number(out, o->max);
}

static void add_choices(const struct option *o, struct buffer *out)
{
	buffer_adds(out, strchr(o->choices, '|') ? "one of " : "");
	for (const char *c = o->choices; *c; c++) {
		if (*c == '|')
			buffer_adds(out, ", ");
		else
			buffer_add(out, c, 1);
	}
}

void option_expected(const struct option *o, struct buffer *out)
{
	switch (o->kind) {
	case OPTION_FLAG:
		buffer_adds(out, "true or false");
		break;
	case OPTION_SWITCH:
		buffer_adds(out, "true, false or auto");
		break;
	case OPTION_INT:
		buffer_adds(out, o->choices ? "" : "a whole number");
		(o->choices ? add_choices : add_limits)(o, out);
		break;
	case OPTION_NUMBER:
		buffer_adds(out, "a number");
		add_limits(o, out);
		break;
	case OPTION_CHOICE:
		add_choices(o, out);
		break;
	case OPTION_SIZE:
		buffer_adds(out, "N or \"W,H\" with whole numbers");
		add_limits(o, out);
		break;
	case OPTION_LIST:
		buffer_adds(out, "a list of texts");
		break;
	default:
		buffer_adds(out, "a text in quotes");
	}
}

static bool take_flag(bool *value, const char *text)
{
	static const char *const words[] = { "false", "true", "0", "1", "no", "yes", "off", "on" };

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (strcasecmp(text, words[i]))
			continue;
		*value = i % 2;
		return true;
	}
	return false;
}

static bool take_switch(enum option_switch *value, const char *text)
{
	bool on;

	if (!strcasecmp(text, "auto"))
		*value = SWITCH_AUTO;
	else if (take_flag(&on, text))
		*value = on ? SWITCH_ON : SWITCH_OFF;
	else
		return false;
	return true;
}

/* "8", and "8.0" and "1e3" too: sd-scripts' own files have whole numbers with a point. */
static bool take_long(const struct option *o, const char *text, const char *ends, long *value, const char **rest)
{
	char *end;

	errno = 0;
	*value = strtol(text, &end, 10);
	if (end != text && strchr(".eE", *end) && *end) {
		double x = strtod(text, &end);
		if (x != floor(x) || fabs(x) >= 1e15)
			return false;
		*value = (long)x;
	}
	*rest = end;
	if (end == text || errno || !strchr(ends, *end))
		return false;
	return !limited(o) || ((double)*value >= o->min && (double)*value <= o->max);
}

static bool is_chosen(const struct option *o, long value)
{
	for (const char *c = o->choices; ; c += strcspn(c, "|") + 1) {
		if (strtol(c, NULL, 10) == value)
			return true;
		if (!strchr(c, '|'))
			return false;
	}
}

static bool take_int(const struct option *o, const char *text)
{
	const char *rest;
	long value;

	if (!take_long(o, text, "", &value, &rest) || (o->choices && !is_chosen(o, value)))
		return false;
	*(long *)o->value = value;
	return true;
}

static bool fits(const struct option *o, double value)
{
	return !limited(o) || ((o->above_min ? value > o->min : value >= o->min) && value <= o->max);
}

static bool take_number(const struct option *o, const char *text)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !isfinite(value) || !fits(o, value))
		return false;
	*(double *)o->value = value;
	return true;
}

int choice_index(const char *choices, const char *value)
{
	int i = 0;

	for (const char *c = choices; strncmp(c, value, strcspn(c, "|")) || value[strcspn(c, "|")]; i++)
		c += strcspn(c, "|") + 1;
	return i;
}

static bool take_choice(const struct option *o, const char *text)
{
	size_t n = strlen(text);

	for (const char *c = o->choices; ; c += strcspn(c, "|") + 1) {
		size_t length = strcspn(c, "|");
		if (length == n && !strncasecmp(c, text, n)) {
			*(const char **)o->value = keep(xstrndup(c, n));
			return true;
		}
		if (!c[length])
			return false;
	}
}

static bool take_size(const struct option *o, const char *text)
{
	long width, height;
	const char *rest;

	if (!take_long(o, text, ",xX", &width, &rest))
		return false;
	height = width;
	if (*rest && !take_long(o, rest + 1 + strspn(rest + 1, " "), "", &height, &rest))
		return false;
	((long *)o->value)[0] = width;
	((long *)o->value)[1] = height;
	return true;
}

static bool take_item(const struct option *o, const char *text)
{
	struct text_list *list = o->value;

	list->item = xrealloc(list->item, (list->count + 1) * sizeof(*list->item));
	list->item[list->count++] = keep(xstrdup(text));
	return true;
}

static bool is_number(const char *text)
{
	char *end;

	strtod(text, &end);
	return end != text && (!*end || !strcmp(end, "%"));
}

static bool take(const struct option *o, const char *text)
{
	switch (o->kind) {
	case OPTION_FLAG:
		return take_flag(o->value, text);
	case OPTION_SWITCH:
		return take_switch(o->value, text);
	case OPTION_INT:
		return take_int(o, text);
	case OPTION_NUMBER:
		return take_number(o, text);
	case OPTION_CHOICE:
		return take_choice(o, text);
	case OPTION_SIZE:
		return take_size(o, text);
	case OPTION_LIST:
		return take_item(o, text);
	case OPTION_STRING:
		*(const char **)o->value = keep(xstrdup(text));
		return true;
	default:
		return false;
	}
}

/* Blanks around a number or a word are no part of it; those of a text may be meant. */
static char *trim(const char *text)
{
	size_t n;

	text += strspn(text, " \t");
	for (n = strlen(text); n && strchr(" \t", text[n - 1]); n--)
		;
	return xstrndup(text, n);
}

int option_take(const struct option *o, const char *text, const char *where, struct error *e)
{
	struct buffer expected = { 0 };
	char *trimmed = trim(text);
	bool as_it_stands = (o->kind == OPTION_LIST && !option_takes_pairs(o)) ||
		(o->kind == OPTION_STRING && !is_number(trimmed));
	bool good = take(o, as_it_stands ? text : trimmed);

	free(trimmed);
	if (good)
		return 0;
	option_expected(o, &expected);
	fail(e, EXIT_USAGE, "%s: '%.200s' does not fit; give %s", where, text, expected.data);
	buffer_free(&expected);
	return -1;
}

void option_clear_list(const struct option *o)
{
	struct text_list *list = o->value;

	free(list->item);
	*list = (struct text_list){ 0 };
}

static void zero(const struct option *o)
{
	switch (o->kind) {
	case OPTION_FLAG:
		*(bool *)o->value = false;
		break;
	case OPTION_SWITCH:
		*(enum option_switch *)o->value = SWITCH_OFF;
		break;
	case OPTION_INT:
		*(long *)o->value = 0;
		break;
	case OPTION_NUMBER:
		*(double *)o->value = 0;
		break;
	case OPTION_SIZE:
		((long *)o->value)[0] = ((long *)o->value)[1] = 0;
		break;
	case OPTION_LIST:
		*(struct text_list *)o->value = (struct text_list){ 0 };
		break;
	default:
		*(const char **)o->value = NULL;
	}
}

void option_begin(const struct option *o)
{
	struct error e;

	if (!option_has_value(o))
		return;
	zero(o);
	if (o->fallback && option_take(o, o->fallback, o->name, &e))
		die(EXIT_OTHER, "bug: default of --%s", e.text);
}

void option_reset(const struct option *o)
{
	if (o->kind == OPTION_LIST)
		option_clear_list(o);
	option_begin(o);
}

void option_add_quoted(struct buffer *out, const char *s)
{
	const char *end = s + strlen(s);

	buffer_adds(out, "\"");
	while (s < end) {
		const unsigned char *p = (const unsigned char *)s;
		const size_t n = utf8_length(p, (size_t)(end - s));

		if (n && commands_terminal(utf8_decode(p, n)))
			buffer_addf(out, "\\u%04X", (unsigned)utf8_decode(p, n));
		else if (*s == '"' || *s == '\\')
			buffer_addf(out, "\\%c", *s);
		else
			buffer_add(out, s, n ? n : 1);
		s += n ? n : 1;
	}
	buffer_adds(out, "\"");
}

static void add_list(struct buffer *out, const struct text_list *list)
{
	buffer_adds(out, "[");
	for (size_t i = 0; i < list->count; i++) {
		buffer_adds(out, i ? ", " : "");
		option_add_quoted(out, list->item[i]);
	}
	buffer_adds(out, "]");
}

static bool is_unset(const struct option *o)
{
	switch (o->kind) {
	case OPTION_INT:
		return !o->fallback && !*(long *)o->value;
	case OPTION_NUMBER:
		return !o->fallback && *(double *)o->value == 0;
	case OPTION_SIZE:
		return !((long *)o->value)[0];
	case OPTION_STRING:
	case OPTION_CHOICE:
		return !*(const char **)o->value;
	default:
		return false;
	}
}

static void add_switch(struct buffer *out, enum option_switch value)
{
	buffer_adds(out, value == SWITCH_AUTO ? "\"auto\"" : value == SWITCH_ON ? "true" : "false");
}

void option_print_value(const struct option *o, struct buffer *out)
{
	const long *size = o->value;

	if (is_unset(o)) {
		buffer_adds(out, "\"\"");
		return;
	}
	switch (o->kind) {
	case OPTION_FLAG:
		buffer_adds(out, *(bool *)o->value ? "true" : "false");
		break;
	case OPTION_SWITCH:
		add_switch(out, *(enum option_switch *)o->value);
		break;
	case OPTION_INT:
		buffer_addf(out, "%ld", *(long *)o->value);
		break;
	case OPTION_NUMBER:
		option_add_number(out, *(double *)o->value);
		break;
	case OPTION_SIZE:
		buffer_addf(out, "\"%ld", size[0]);      /* in quotes: sd-scripts stops at a number */
		if (size[0] != size[1])
			buffer_addf(out, ",%ld", size[1]);
		buffer_adds(out, "\"");
		break;
	case OPTION_LIST:
		add_list(out, o->value);
		break;
	default:
		option_add_quoted(out, *(const char **)o->value);
	}
}

bool option_is_default(const struct option *o)
{
	union {
		bool flag; enum option_switch state; long size[2]; double number; const char *text;
		struct text_list list;
	} value;
	struct option fallback = *o;
	struct buffer is = { 0 }, was = { 0 };
	bool same;

	fallback.value = &value;
	option_begin(&fallback);
	option_print_value(o, &is);
	option_print_value(&fallback, &was);
	same = !strcmp(is.data, was.data);
	if (o->kind == OPTION_LIST)
		option_clear_list(&fallback);
	buffer_free(&is);
	buffer_free(&was);
	return same;
}

bool option_is_off(const struct option *o)
{
	switch (o->kind) {
	case OPTION_FLAG:
		return !*(bool *)o->value;
	case OPTION_SWITCH:
		return *(enum option_switch *)o->value == SWITCH_OFF;
	case OPTION_INT:
		return !*(long *)o->value;
	case OPTION_NUMBER:
		return *(double *)o->value == 0;
	case OPTION_LIST:
		return !((struct text_list *)o->value)->count;
	case OPTION_STRING:
	case OPTION_CHOICE:
		return !*(const char **)o->value || !**(const char **)o->value;
	default:
		return false;
	}
}
