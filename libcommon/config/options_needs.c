/* Values that change nothing because another option is off.  sd-scripts accepts them in silence. */
#include <string.h>
#include "options_private.h"

static size_t name_length(const char *text)
{
	return strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");
}

/* Is the value among "A" or "B"? */
static bool is_one_of(const struct option *o, const char *words, size_t n)
{
	struct buffer value = { 0 }, all = { 0 };
	bool found;

	option_print_value(o, &value);
	if (value.data[0] != '"') {     /* a number */
		buffer_addf(&all, "\"%s\"", value.data);
		buffer_free(&value);
		value = all;
		all = (struct buffer){ 0 };
	}
	buffer_addf(&all, "%.*s", (int)n, words);
	found = strstr(all.data, value.data) != NULL;
	buffer_free(&value);
	buffer_free(&all);
	return found;
}

/* One of the alternatives: n bytes "KEY" or "KEY = ..." */
static bool is_met(const struct tool *tool, const char *need, size_t n)
{
	const size_t length = name_length(need);
	const struct option *o = option_named(tool, need, length);

	if (!o)
		die(EXIT_OTHER, "bug: no option is called %.*s", (int)length, need);
	return strncmp(need + length, " = ", 3) ? !option_is_off(o) : is_one_of(o, need + length, n - length);
}

bool option_is_heard(const struct tool *tool, const struct option *o)
{
	size_t n;

	for (const char *need = o->needs; need; need += n + 1) {
		n = strcspn(need, "|");
		if (is_met(tool, need, n))
			return true;
		if (!need[n])
			return false;
	}
	return true;
}

/* Options without a key have their names in the note, and so have those that they need. */
void options_tell_idle(const struct tool *tool)
{
	char buffer[KEY_SIZE];

	for (const struct option *o = tool->table; o->name || o->help; o++) {
		const char *key = option_key(o, buffer), *dashes = key ? "" : "--";

		if (!option_is_heard(tool, o) && !option_is_default(o))
			note("%s%s: does nothing without %s%.*s; set that too, or leave it out", dashes,
			     key ? key : o->name, dashes, (int)strcspn(o->needs, "|"), o->needs);
	}
}

int options_refuse_idle(const struct tool *tool, struct error *e)
{
	struct buffer need = { 0 };
	const struct option *o = tool->table;

	while ((o->name || o->help) && (option_is_heard(tool, o) || !option_is_typed(o->name)))
		o++;
	if (!o->name && !o->help)
		return 0;
	for (const char *c = o->needs; *c && *c != '|'; c++)    /* method = "dare": --method dare */
		if (*c != '"' && *c != '=' && (*c != ' ' || c[1] != '='))
			buffer_addf(&need, "%c", *c);
	fail(e, EXIT_USAGE, "--%s says nothing without --%s; say that too, or leave it away", o->name, need.data);
	buffer_free(&need);
	return -1;
}
