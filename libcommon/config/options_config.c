/* Reading configuration files: the keys of this tool, and what is said about all others. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../io/toml.h"
#include "foreign.h"
#include "known_keys.h"
#include "options_private.h"

/* The place of a key, for messages.  path NULL: the key was typed as an option of a launcher, which put it into a file;
 * the message names the option. */
struct place { char text[600]; };

static struct place place_of(const char *path, const struct toml *t)
{
	struct place p;

	if (path)
		snprintf(p.text, sizeof(p.text), "%s:%d", path, t->line);
	else
		snprintf(p.text, sizeof(p.text), "--%s", t->key);
	return p;
}

/* A note where one file gives a key twice: the later line wins, as with kohya, and nobody expects the earlier one to do
 * nothing. */
static void tell_override(const struct option *o, const char *path, const char *old_origin, const char *old_value,
			  const struct toml *t)
{
	struct buffer value = { 0 };
	size_t n = path ? strlen(path) : 0;

	option_print_value(o, &value);
	if (path && old_origin && !strncmp(old_origin, path, n) && old_origin[n] == ':' &&
	    strcmp(value.data, old_value))
		note("%s: %s = %s replaces %s of line %s", place_of(path, t).text, t->key, value.data, old_value,
		     old_origin + n + 1);
	buffer_free(&value);
}

/* What works here and stops sd-scripts, or means something else there. */
static const struct trap { const char *key; enum toml_kind kind; const char *say; } traps[] = {
	{ "resolution", TOML_INTEGER, "sd-scripts stops at a number here; for it write it in quotes" },
};

static void tell_traps(const struct toml *t, const char *path)
{
	for (size_t i = 0; i < sizeof(traps) / sizeof(*traps); i++)
		if (!strcmp(traps[i].key, t->key) && traps[i].kind == t->kind)
			note("%s: '%s': %s", place_of(path, t).text, t->key, traps[i].say);
}

static int set_option(struct parse *p, const struct option *o, const struct toml *t, const char *path, struct error *e)
{
	char **origin = &p->origin[o - p->tool->table];
	struct buffer old = { 0 };
	char *where;
	int status;

	if (toml_means_unset(o, t)) {
		option_reset(o);
		free(*origin);
		*origin = NULL;
		return 0;
	}
	where = path ? xprintf("%s:%d: %s", path, t->line, t->key) : xprintf("--%s", t->key);
	option_print_value(o, &old);
	status = option_take_toml(o, t, where, e);
	if (!status) {
		tell_override(o, path, *origin, old.data, t);
		tell_traps(t, path);
		free(*origin);
		*origin = path ? xprintf("%s:%d", path, t->line) : xstrdup(LAUNCH_LINE);
	}
	buffer_free(&old);
	free(where);
	return status;
}

static void note_once(struct parse *p, const struct known_key *k, const struct toml *t, const char *path)
{
	bool *noted = &p->noted[k - known_keys(&(size_t){ 0 })];
	const char *what = k->class == KEY_OURS ? "" :
		k->class == KEY_IGNORED ? " is ignored" : " is no key of sd-scripts and is ignored";

	if (!*noted)
		note("%s: '%s'%s: %s", place_of(path, t).text, k->name, what, k->say);
	*noted = true;
}

static int known_but_no_option(struct parse *p, const struct known_key *k, const struct toml *t, const char *path,
			       struct error *e)
{
	if (k->class == KEY_OURS || toml_asks_for_nothing(t, k->neutral))
		return 0;
	if (k->class == KEY_REFUSED)
		return fail(e, EXIT_USAGE, "%s: '%s' is refused: %s; remove the line", place_of(path, t).text, t->key,
			    k->say);
	note_once(p, k, t, path);
	return 0;
}

static void as_option(struct unknown_name *n)
{
	char *name = xprintf("--%s", n->name);

	free(n->name);
	n->name = name;
	n->line = 0;
}

static int take_pair(struct parse *p, const struct toml *t, const char *path, struct error *e)
{
	const struct known_key *k = known_key(t->key);
	const struct option *o = option_by_key(p->tool, t->key);

	if (!o && k && k->alias) {
		o = option_by_key(p->tool, k->alias);
		if (o && k->say)
			note_once(p, k, t, path);
	}
	if (o)
		return set_option(p, o, t, path, e);
	if (k)
		return known_but_no_option(p, k, t, path, e);
	unknown_key(&p->unknown, p->tool, t->key, t->line);
	if (!path)
		as_option(&p->unknown.item[p->unknown.count - 1]);
	return 0;
}

/* The first mistake is remembered, and reading goes on. */
static void take_value(struct parse *p, const struct toml *t, const char *path)
{
	struct error e;

	if (take_pair(p, t, path, &e) && !p->first.code)
		p->first = e;
}

static void take_pairs(struct parse *p, const struct toml *table, const char *path)
{
	for (const struct toml *t = table->child; t; t = t->next) {
		if (t->kind != TOML_TABLE)
			take_value(p, t, path);
		else if (!p->first.code)
			fail(&p->first, EXIT_USAGE, "%s: the table '%s' stands inside another; "
						    "move its keys to a [table] of the first level",
			     place_of(path, t).text, t->key);
	}
}

/* [general], [[datasets]]: the tool that has the option dataset-config reads them itself, from this file. */
static int leave_dataset(struct parse *p, const struct toml *datasets, const char *path, struct error *e)
{
	const struct option *o = option_by_key(p->tool, "dataset_config");
	char **origin = o ? &p->origin[o - p->tool->table] : NULL;

	if (!o)
		return 0;
	free(*origin);
	*origin = xprintf("%s:%d", path, datasets->line);
	return option_take(o, path, *origin, e);
}

static int take_table(struct parse *p, const struct toml *t, const struct toml *datasets, const char *path,
		      struct error *e)
{
	if (datasets && t == datasets)
		return leave_dataset(p, t, path, e);
	if (datasets && !strcmp(t->key, "general"))
		return 0;
	if (t->kind == TOML_TABLE)
		take_pairs(p, t, path);
	else
		take_value(p, t, path);
	return 0;
}

/* What was found wrong on the way; unknown names come before other mistakes. */
static int end_reading(struct parse *p, const char *path, struct error *e)
{
	if (p->unknown.count)
		return unknown_fail(&p->unknown, path, path ? "key" : "option",
				    path ? "remove the line, or see lora-config(5)" : "see lora-config(5)", e);
	*e = p->first;
	return p->first.code ? -1 : 0;
}

int options_read_config(struct parse *p, const char *path, struct error *e)
{
	struct toml *root = config_file_read(path, &p->preset, e);
	const struct toml *datasets = root ? toml_dataset_tables(root) : NULL;
	int status = root ? 0 : -1;

	p->first.code = 0;
	for (const struct toml *t = root ? root->child : NULL; t && !status; t = t->next)
		status = take_table(p, t, datasets, path, e);
	toml_free(root);
	return status ? status : end_reading(p, path, e);
}

int options_read_launch(struct parse *p, const char *path, struct error *e)
{
	struct toml *root = toml_read(path, e);

	if (!root) {
		e->code = EXIT_USAGE;
		return -1;
	}
	p->first.code = 0;
	take_pairs(p, root, NULL);
	toml_free(root);
	return end_reading(p, NULL, e);
}
