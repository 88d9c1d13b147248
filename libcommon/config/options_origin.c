/* What was parsed: the options' values, where each came from, and messages that say so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../io/claims.h"
#include "known_keys.h"
#include "options_private.h"

static struct parse parsed;     /* a process parses one command line */

bool option_same_name(const char *given, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!name[i] || (given[i] == '_' ? '-' : given[i]) != (name[i] == '_' ? '-' : name[i]))
			return false;
	return !name[n];
}

const struct option *option_named(const struct tool *tool, const char *name, size_t n)
{
	char buffer[KEY_SIZE];
	const struct option *o;

	for (o = tool->table; o->name || o->help; o++)
		if (o->kind != OPTION_SECTION && option_same_name(name, n, o->name))
			return o;
	for (o = tool->table; o->name || o->help; o++) {
		const char *key = option_key(o, buffer);
		if (key && option_same_name(name, n, key))
			return o;
	}
	return NULL;
}

/* A second command line of one program (tests) forgets the first. */
static void forget(struct parse *p)
{
	for (size_t i = 0; i < p->count; i++) {
		if (p->tool->table[i].kind == OPTION_LIST)
			option_clear_list(&p->tool->table[i]);
		free(p->origin[i]);
	}
	free(p->origin);
}

void options_defaults(const struct tool *tool)
{
	for (const struct option *o = tool->table; o->name || o->help; o++)
		option_begin(o);
}

struct parse *parse_begin(const struct tool *tool)
{
	struct parse *p = &parsed;
	size_t keys;

	forget(p);
	claims_forget();
	known_keys(&keys);
	*p = (struct parse){ .tool = tool, .noted = xcalloc(keys, sizeof(*p->noted)) };
	options_defaults(tool);
	while (tool->table[p->count].name || tool->table[p->count].help)
		p->count++;
	p->origin = xcalloc(p->count, sizeof(*p->origin));
	return p;
}

const char *option_origin(const char *name)
{
	const struct option *o = parsed.tool ? option_named(parsed.tool, name, strlen(name)) : NULL;
	const char *origin = o ? parsed.origin[o - parsed.tool->table] : NULL;

	return origin || !o ? origin : "default";
}

/* Does the message open with this value, as "PATH: ..." or "PATH/...: ..." do? */
static bool is_about(const struct error *e, const char *value, const char *ends)
{
	size_t n = value ? strlen(value) : 0;

	return n > 1 && !strncmp(e->text, value, n) && e->text[n] && strchr(ends, e->text[n]);
}

/* Of what was typed it is the file itself: a file in a folder may be an operand's. */
static const char *about_value(const struct error *e, const struct option *o, bool from_file)
{
	const struct text_list *list = o->value;
	const char *ends = from_file ? ":/" : ":";

	if (!from_file && o->file != FILE_READ && o->file != FILE_READ_WHOLE)
		return NULL;
	if (o->kind == OPTION_STRING)
		return is_about(e, *(const char **)o->value, ends) ? *(const char **)o->value : NULL;
	for (size_t i = 0; o->kind == OPTION_LIST && i < list->count; i++)
		if (is_about(e, list->item[i], ends))
			return list->item[i];
	return NULL;
}

static bool is_typed(const char *origin)
{
	return origin && (!strcmp(origin, COMMAND_LINE) || !strcmp(origin, LAUNCH_LINE));
}

char *option_place(const struct option *o, const char *origin)
{
	char buffer[KEY_SIZE];
	const char *key = option_key(o, buffer);

	if (strchr(origin, ':'))
		return xprintf("%s: %s", origin, key);
	if (!is_typed(origin))
		return xstrdup(origin);         /* a variable */
	return xprintf("--%s", strcmp(origin, LAUNCH_LINE) ? o->name : key);
}

/* Its place before it. */
static void name_file(struct error *e, const struct option *o, const char *origin, const char *value)
{
	const bool windows = strchr(value, '\\') || (value[0] && value[1] == ':');
	char *where = option_place(o, origin);

	fail_at(e, where);
	if (windows)
		snprintf(e->text + strlen(e->text), sizeof(e->text) - strlen(e->text), " (a path of Windows)");
	free(where);
}

static bool opens_with(const char *text, const char *name)
{
	const size_t n = name ? strlen(name) : 0;

	return n && !strncmp(text, name, n) && text[n] && strchr(" :='", text[n]);
}

/* A message that opens with an option's key or name is about it; the name may have its dashes. */
static bool is_about_key(const struct error *e, const struct option *o)
{
	const char *text = e->text + (strncmp(e->text, "--", 2) ? 0 : 2);
	char buffer[KEY_SIZE];

	return o->kind != OPTION_SECTION && (opens_with(text, option_key(o, buffer)) || opens_with(text, o->name));
}

/* "run.toml:9: lr_warmup_steps: ..."; of what was typed "--lr_warmup_steps: ...". */
static void name_place(struct error *e, const char *origin)
{
	char *text = xstrdup(e->text);

	if (!is_typed(origin))
		fail_at(e, origin);
	else if (strncmp(text, "--", 2))
		fail(e, e->code, "--%s", text);
	free(text);
}

const struct error *options_explain(struct error *e)
{
	for (size_t i = 0; parsed.tool && i < parsed.count; i++) {
		const struct option *o = &parsed.tool->table[i];
		const char *origin = parsed.origin[i];
		const bool file = origin && (strchr(origin, ':') || !strcmp(origin, LAUNCH_LINE));
		const char *value = origin ? about_value(e, o, file) : NULL;

		if (value)
			name_file(e, o, origin, value);
		else if (origin && is_about_key(e, o))
			name_place(e, origin);
		else
			continue;
		break;
	}
	return e;
}

bool option_is_typed(const char *name)
{
	return is_typed(option_origin(name));
}

bool option_is_set(const char *name)
{
	const struct option *o = parsed.tool ? option_named(parsed.tool, name, strlen(name)) : NULL;

	return o && parsed.origin[o - parsed.tool->table];
}
