/*
 * The command line and the environment.
 *
 * The command line is read twice: first only to learn its options, --config files and --quiet, then, after defaults,
 * files and environment have been taken, to let it have the last word.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../base/map.h"
#include "known_keys.h"
#include "options_private.h"
#include "version.h"

struct given {
	const struct option *option;
	const char *text;       /* NULL: a flag without a value */
	bool off;               /* --no-NAME */
};

struct command_line {
	struct parse *p;
	int argc, at;
	char **argv;
	struct given *given;
	size_t count, capacity;
	const char **config;
	size_t configs, config_capacity;
	int operands;
	bool print_config;
};

static _Noreturn void finish(const struct error *e)
{
	exit(report(e));
}

static _Noreturn void print_and_exit(struct buffer *text)
{
	struct error e;

	if (fwrite(text->data, 1, text->len, stdout) != text->len || fflush(stdout)) {
		fail(&e, EXIT_IO, "standard output: %s; write to another place", strerror(errno));
		finish(&e);
	}
	exit(EXIT_DONE);
}

/* By name, by config key, or by another spelling of the key (kohya's --pretrained_model_name_or_path). */
static const struct option *find_long(const struct tool *tool, const char *name, size_t n)
{
	const struct option *o = option_named(tool, name, n);
	const struct known_key *k;
	char *key;

	if (o || !tool->takes_config)
		return o;
	key = xstrndup(name, n);
	for (char *c = key; *c; c++)
		if (*c == '-')
			*c = '_';
	k = known_key(key);
	if (k && k->alias)
		o = option_named(tool, k->alias, strlen(k->alias));
	free(key);
	return o;
}

static int unknown_option(const struct tool *tool, size_t count, const char *name, size_t n, struct error *e)
{
	static const char *const own[] = { "help", "version", "quiet", "config", "print-config" };
	const char **names = xmalloc((count + 5) * sizeof(*names)), *near;
	char *wrong = xstrndup(name, n);
	size_t have = 0;

	for (size_t i = 0; i < count; i++)
		if (tool->table[i].kind != OPTION_SECTION)
			names[have++] = tool->table[i].name;
	for (int i = 0; i < (tool->takes_config ? 5 : 3); i++)
		names[have++] = own[i];
	near = nearest_name(wrong, names, have);
	if (near)
		fail(e, EXIT_USAGE, "unknown option '--%s'; did you mean '--%s'? (try --help)", wrong, near);
	else
		fail(e, EXIT_USAGE, "unknown option '--%s'; try --help", wrong);
	free(wrong);
	free(names);
	return -1;
}

static void give(struct command_line *c, const struct option *o, const char *text, bool off)
{
	GROW(c->given, c->count, c->capacity);
	c->given[c->count++] = (struct given){ o, text, off };
}

static const char *next_word(struct command_line *c)
{
	return c->at < c->argc ? c->argv[c->at++] : NULL;
}

/* "[STATE|auto]": the word may be missing.  What follows is taken unless it is an option or, by its name, a tar stream,
 * which is what our operands are. */
static const char *optional_word(struct command_line *c)
{
	const char *next = c->at < c->argc ? c->argv[c->at] : NULL;
	size_t n = next ? strlen(next) : 0;

	if (!next || next[0] == '-' || (n > 4 && !strcmp(next + n - 4, ".tar")))
		return "auto";
	return next_word(c);
}

/* kohya's lists take several words: --network_args conv_dim=4 conv_alpha=1 */
static void take_more_words(struct command_line *c, const struct option *o)
{
	char buffer[KEY_SIZE];
	const char *key = option_key(o, buffer);
	size_t n = key ? strlen(key) : 0;

	if (o->kind != OPTION_LIST || n < 5 || strcmp(key + n - 5, "_args"))
		return;
	while (c->at < c->argc && c->argv[c->at][0] != '-' && strchr(c->argv[c->at], '='))
		give(c, o, c->argv[c->at++], false);
}

static int needs_value(const char *as_given, const char *argument, struct error *e)
{
	return fail(e, EXIT_USAGE, "%s needs a value; write %s %s (try --help)", as_given, as_given, argument ? argument : "VALUE");
}

static int later(const char *as_given, struct error *e)
{
	return fail(e, EXIT_USAGE, "%s is not yet implemented; leave it out", as_given);
}

static int take_option(struct command_line *c, const struct option *o, const char *as_given, const char *value, struct error *e)
{
	if (o->kind == OPTION_LATER)
		return later(as_given, e);
	if (o->kind == OPTION_SWITCH && !value && c->at < c->argc && !strcmp(c->argv[c->at], "auto"))
		value = next_word(c);
	if (option_is_flag(o)) {
		give(c, o, value, false);
		return 0;
	}
	if (!value)
		value = o->argument && o->argument[0] == '[' ? optional_word(c) : next_word(c);
	if (!value)
		return needs_value(as_given, o->argument, e);
	give(c, o, value, false);
	take_more_words(c, o);
	return 0;
}

static int take_help(struct command_line *c, const char *value, struct error *e)
{
	struct buffer text = { 0 };

	if (value && strcmp(value, "all"))
		return fail(e, EXIT_USAGE, "--help: '%s' does not fit; write --help or --help=all", value);
	options_help(c->p->tool, value != NULL, &text);
	print_and_exit(&text);
}

static _Noreturn void print_version(const struct tool *tool)
{
	struct buffer text = { 0 };

	buffer_addf(&text, "%s (lora-tools) %s\n", tool->name, LORA_VERSION);
	print_and_exit(&text);
}

/* The options that every tool has.  1: it was one, 0: not, -1: trouble. */
static int take_common(struct command_line *c, const char *name, size_t n, const char *value, struct error *e)
{
	if (option_same_name(name, n, "help"))
		return take_help(c, value, e) ? -1 : 1;
	if (option_same_name(name, n, "version"))
		print_version(c->p->tool);
	if (option_same_name(name, n, "quiet")) {
		quiet(1);
		return 1;
	}
	if (!c->p->tool->takes_config)
		return 0;
	if (option_same_name(name, n, "print-config")) {
		c->print_config = true;
		return 1;
	}
	if (!option_same_name(name, n, "config") && !option_same_name(name, n, "config-file"))
		return 0;
	if (!value)
		value = next_word(c);
	if (!value)
		return needs_value("--config", "FILE", e);
	GROW(c->config, c->configs, c->config_capacity);
	c->config[c->configs++] = value;
	return 1;
}

/* What kohya's command lines have and this program has not.  1: ignored with a note; 0: nothing known of it; -1: trouble. */
static int take_known(struct command_line *c, const char *name, size_t n, const char *value, struct error *e)
{
	char *key = xstrndup(name, n);
	const struct known_key *k;

	for (char *p = key; *p; p++)
		if (*p == '-')
			*p = '_';
	k = c->p->tool->takes_config ? known_key(key) : NULL;
	free(key);
	if (!k)
		return 0;
	if (k->class == KEY_OURS)
		return fail(e, EXIT_USAGE, "--%.*s is an option of other programs here, as lora-config(5) says; put it into a --config, "
			    "which serves them all, or use lora-launch", (int)n, name);
	if (k->class == KEY_REFUSED)
		return fail(e, EXIT_USAGE, "--%.*s is refused: %s", (int)n, name, k->say);
	if (!value && !known_key_is_flag(k) && !next_word(c))
		return fail(e, EXIT_USAGE, "--%.*s needs a value, even where it is ignored", (int)n, name);
	note("--%.*s is ignored: %s", (int)n, name, k->say);
	return 1;
}

static int take_long(struct command_line *c, const char *arg, struct error *e)
{
	const char *name = arg + 2, *equals = strchr(name, '=');
	size_t n = equals ? (size_t)(equals - name) : strlen(name);
	const char *value = equals ? equals + 1 : NULL;
	const struct option *o = find_long(c->p->tool, name, n);
	char as_given[100];
	int common;

	snprintf(as_given, sizeof(as_given), "%.*s", (int)n + 2, arg);
	if (o)
		return take_option(c, o, as_given, value, e);
	common = take_common(c, name, n, value, e);
	if (common)
		return common < 0 ? -1 : 0;
	if (n > 3 && option_same_name(name, 3, "no-"))
		o = find_long(c->p->tool, name + 3, n - 3);
	if (!o) {
		common = take_known(c, name, n, value, e);
		if (common)
			return common < 0 ? -1 : 0;
	}
	if (!o || (!option_is_flag(o) && o->kind != OPTION_LATER))
		return unknown_option(c->p->tool, c->p->count, name, n, e);
	if (o->kind == OPTION_LATER)
		return later(as_given, e);
	if (value)
		return fail(e, EXIT_USAGE, "%s takes no value; leave out '=%s'", as_given, value);
	give(c, o, NULL, true);
	return 0;
}

static int take_letters(struct command_line *c, const char *arg, struct error *e)
{
	for (const char *letter = arg + 1; *letter; letter++) {
		char as_given[3] = { '-', *letter, 0 };
		const struct option *o = c->p->tool->table;

		while ((o->name || o->help) && o->letter != *letter)
			o++;
		if (!o->name && !o->help) {
			if (*letter == 'h')
				return take_help(c, NULL, e);
			if (*letter != 'q')
				return fail(e, EXIT_USAGE, "unknown option '-%c'; try --help", *letter);
			quiet(1);
		} else if (option_is_flag(o) || o->kind == OPTION_LATER) {
			if (take_option(c, o, as_given, NULL, e))
				return -1;
		} else {
			return take_option(c, o, as_given, letter[1] ? letter + 1 : NULL, e);
		}
	}
	return 0;
}

static int read_command_line(struct command_line *c, struct error *e)
{
	bool options = true;

	for (c->at = 1; c->at < c->argc; ) {
		char *arg = c->argv[c->at++];
		int status = 0;
		if (!options || arg[0] != '-' || !arg[1])
			c->argv[c->operands++] = arg;           /* never overtakes c->at */
		else if (!strcmp(arg, "--"))
			options = false;
		else
			status = arg[1] == '-' ? take_long(c, arg, e) : take_letters(c, arg, e);
		if (status)
			return -1;
	}
	return 0;
}

static void set_origin(struct parse *p, const struct option *o, const char *origin)
{
	char **mine = &p->origin[o - p->tool->table];

	if (o->kind == OPTION_LIST && (!*mine || strcmp(*mine, origin)))
		option_clear_list(o);   /* a list is replaced by a stronger source, and only grows within one */
	free(*mine);
	*mine = xstrdup(origin);
}

static int take_variable(struct parse *p, const struct option *o, struct error *e)
{
	char buffer[KEY_SIZE], name[KEY_SIZE + 5] = "LORA_";
	const char *key = option_key(o, buffer), *value;
	size_t i;

	if (!key || strlen(key) >= KEY_SIZE)
		return 0;
	for (i = 0; key[i]; i++)
		name[5 + i] = (char)toupper((unsigned char)key[i]);
	name[5 + i] = 0;
	value = getenv(name);
	if (!value || !*value)
		return 0;
	if (o->kind == OPTION_LATER)
		return later(name, e);
	set_origin(p, o, name);
	return option_take(o, value, name, e);
}

static int apply_given(struct parse *p, const struct given *g, struct error *e)
{
	char where[100];

	snprintf(where, sizeof(where), "--%s", g->option->name);
	set_origin(p, g->option, COMMAND_LINE);
	return option_take(g->option, g->off ? "false" : g->text ? g->text : "true", where, e);
}

static int take_sources(struct command_line *c, struct error *e)
{
	struct parse *p = c->p;

	for (size_t i = 0; i < c->configs; i++)
		if (options_read_config(p, c->config[i], e))
			return -1;
	for (size_t i = 0; p->tool->takes_config && i < p->count; i++)
		if (take_variable(p, &p->tool->table[i], e))
			return -1;
	for (size_t i = 0; i < c->count; i++)
		if (apply_given(p, &c->given[i], e))
			return -1;
	return 0;
}

int options_parse(const struct tool *tool, int argc, char **argv)
{
	struct command_line c = { .p = parse_begin(tool), .argc = argc, .argv = argv };
	struct error e = { 0 };
	struct buffer text = { 0 };

	if (read_command_line(&c, &e) || take_sources(&c, &e))
		finish(&e);
	free(c.given);
	free(c.config);
	free(c.p->noted);
	if (c.print_config) {
		buffer_adds(&text, "");
		options_print(tool, &text, true);
		print_and_exit(&text);
	}
	return c.operands;
}
