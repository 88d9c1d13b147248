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
#include <strings.h>
#include <unistd.h>
#include "../base/cpu.h"
#include "../base/map.h"
#include "../base/print.h"
#include "../base/said.h"
#include "../base/thread.h"
#include "../io/claims.h"
#include "foreign.h"
#include "known_keys.h"
#include "options_private.h"
#include "other_names.h"
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
	const char **config, *launch, *said;
	size_t configs, config_capacity;
	int operands;
	bool print_config;
	struct unknown_names unknown;
};

static _Noreturn void finish(const struct error *e)
{
	exit(report(e));
}

static _Noreturn void print_and_exit(struct buffer *text)
{
	struct error e;

	if (print_text(text->data, text->len, &e))
		finish(&e);
	exit(EXIT_DONE);
}

/* "max_train_steps" of "max-train-steps"; malloced */
static char *key_of(const char *name, size_t n)
{
	char *key = xstrndup(name, n);

	for (char *c = key; *c; c++)
		if (*c == '-')
			*c = '_';
	return key;
}

/* By name, by config key, or by another spelling of the key (kohya's --pretrained_model_name_or_path). */
static const struct option *find_long(const struct tool *tool, const char *name, size_t n)
{
	const struct option *o = option_named(tool, name, n);
	const struct known_key *k;
	char *key;

	if (o || !tool->takes_config)
		return o;
	key = key_of(name, n);
	k = known_key(key);
	if (k && k->alias)
		o = option_named(tool, k->alias, strlen(k->alias));
	free(key);
	return o;
}

static const char *nearest_option(const struct tool *tool, const char *wrong)
{
	static const char *const own[] = { "help", "version", "quiet", "threads", "config", "print-config" };
	size_t count = 0, have = 0;
	const char **names, *near;

	while (tool->table[count].name || tool->table[count].help)
		count++;
	names = xmalloc((count + 6) * sizeof(*names));
	for (size_t i = 0; i < count; i++)
		if (option_has_value(&tool->table[i]))
			names[have++] = tool->table[i].name;
	for (int i = 0; i < (tool->takes_config ? 6 : 4); i++)
		names[have++] = own[i];
	near = nearest_name(wrong, names, have);
	free(names);
	return near;
}

static const struct option *meant_option(const struct tool *tool, const struct other_name *other)
{
	const struct option *o = other && other->option ?
		option_named(tool, other->option, strlen(other->option)) : NULL;

	return o || !other || !other->ours ? o : find_long(tool, other->ours, strlen(other->ours));
}

/* Another program's name for one of our options, or else the nearest spelling. */
static char *option_advice(const struct tool *tool, const char *wrong, const struct other_name *other)
{
	const struct option *o = meant_option(tool, other);
	const char *near = o ? o->name : nearest_option(tool, wrong);

	if (other && other->say && !(o && other->option) && (o || !other->ours || tool->takes_config))
		return xstrdup(other->say);
	if (other && other->ours && !o && tool->takes_config)
		return xprintf("the key is %s, of other programs here; "
			       "put it into a --config, which serves them all, or use lora-launch", other->ours);
	return near ? xprintf("did you mean '--%s'?", near) : NULL;
}

static void unknown_option(struct command_line *c, const char *name, size_t n)
{
	char *wrong = xstrndup(name, n), *key = key_of(name, n), *shown = xprintf("--%s", wrong);
	const struct other_name *other = other_name(key);

	unknown_add(&c->unknown, shown, NULL, 0, other ? other->program : NULL,
		    option_advice(c->p->tool, wrong, other));
	free(shown);
	free(key);
	free(wrong);
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
	if (!option_takes_pairs(o))
		return;
	while (c->at < c->argc && c->argv[c->at][0] != '-' && strchr(c->argv[c->at], '='))
		give(c, o, c->argv[c->at++], false);
}

static int needs_value(const char *as_given, const char *argument, struct error *e)
{
	return fail(e, EXIT_USAGE, "%s needs a value; write %s %s (try --help)", as_given, as_given,
		    argument ? argument : "VALUE");
}

static int take_option(struct command_line *c, const struct option *o, const char *as_given, const char *value,
		       struct error *e)
{
	if (o->kind == OPTION_SWITCH && !value && c->at < c->argc && !strcmp(c->argv[c->at], "auto"))
		value = next_word(c);
	if (option_is_flag(o)) {
		give(c, o, value, false);
		return 0;
	}
	if (!value)
		value = option_word_is_optional(o) ? optional_word(c) : next_word(c);
	if (!value)
		return needs_value(as_given, o->argument, e);
	give(c, o, value, false);
	take_more_words(c, o);
	return 0;
}

static int take_help(struct command_line *c, const char *value, struct error *e)
{
	struct buffer text = { 0 };

	if (!value || !strcmp(value, "all"))
		options_help(c->p->tool, value != NULL, &text);
	else if (!options_completion(c->p->tool, value, &text))
		return fail(e, EXIT_USAGE, "--help: '%s' does not fit; write --help, or --help= and all, %s", value,
			    completion_names().text);
	print_and_exit(&text);
}

static _Noreturn void print_version(const struct tool *tool)
{
	struct buffer text = { 0 };

	buffer_addf(&text, "%s (lora-tools) %s, %s\n", tool->name, LORA_VERSION, cpu_set());
	print_and_exit(&text);
}

static int take_file(struct command_line *c, const char *as_given, const char *value, const char **file,
		     struct error *e)
{
	*file = value ? value : next_word(c);
	return *file ? 0 : needs_value(as_given, "FILE", e);
}

static int take_threads(struct command_line *c, const char *value, struct error *e)
{
	long count = 0;
	const struct option threads = { "threads", 0, OPTION_INT, &count, "N", .min = 1, .max = 1024 };

	if (!value)
		value = next_word(c);
	if (!value)
		return needs_value("--threads", "N", e);
	if (option_take(&threads, value, "--threads", e) < 0)
		return -1;
	threads_use((int)count);
	return 0;
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
	if (option_same_name(name, n, "threads"))
		return take_threads(c, value, e) < 0 ? -1 : 1;
	if (!c->p->tool->takes_config)
		return 0;
	if (option_same_name(name, n, "print-config")) {
		c->print_config = true;
		return 1;
	}
	if (option_same_name(name, n, "launch-line"))
		return take_file(c, "--launch-line", value, &c->launch, e) < 0 ? -1 : 1;
	if (option_same_name(name, n, "said"))
		return take_file(c, "--said", value, &c->said, e) < 0 ? -1 : 1;
	if (!option_same_name(name, n, "config") && !option_same_name(name, n, "config-file"))
		return 0;
	if (take_file(c, "--config", value, &value, e) < 0)
		return -1;
	GROW(c->config, c->configs, c->config_capacity);
	c->config[c->configs++] = value;
	return 1;
}

/* Options that kohya's command lines have and this program does not.  1: ignored with a note; 0: unknown; -1: *e. */
static int take_known(struct command_line *c, const char *name, size_t n, const char *value, struct error *e)
{
	char *key = key_of(name, n);
	const struct known_key *k = c->p->tool->takes_config ? known_key(key) : NULL;
	const struct other_name *other = other_name(key);
	const char *foreign = k && k->class == KEY_IGNORED ? foreign_option(key) : NULL;
	/* Typed by hand, it is no residue; and what training ignores may be another program's name for an option of
	 * this one. */
	bool renamed = k && other && (k->class == KEY_RESIDUE || (other->option && meant_option(c->p->tool, other)));

	free(key);
	if (!k || renamed)
		return 0;
	if (foreign)
		return fail(e, EXIT_USAGE, "--%.*s: %s", (int)n, name, foreign);
	if (k->class == KEY_OURS)
		return fail(e, EXIT_USAGE, "--%.*s is an option of other programs here, as lora-config(5) says; "
					   "put it into a --config, which serves them all, or use lora-launch", (int)n,
					   name);
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
	if (!o || !option_is_flag(o)) {
		unknown_option(c, name, n);
		return 0;
	}
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
		} else if (option_is_flag(o)) {
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
	return c->unknown.count ? unknown_fail(&c->unknown, NULL, "option", "try --help", e) : 0;
}

static void set_origin(struct parse *p, const struct option *o, const char *origin)
{
	char **mine = &p->origin[o - p->tool->table];

	if (o->kind == OPTION_LIST && (!*mine || strcmp(*mine, origin)))
		option_clear_list(o);   /* a list is replaced by a stronger source, and only grows within one */
	free(*mine);
	*mine = xstrdup(origin);
}

/* LORA_ and the key in capitals; the text stays, NULL: unset or empty. */
static const char *variable(const char *key, char name[KEY_SIZE + 5])
{
	const char *value;
	size_t i;

	strcpy(name, "LORA_");
	for (i = 0; key[i] && i < KEY_SIZE - 1; i++)
		name[5 + i] = (char)toupper((unsigned char)key[i]);
	name[5 + i] = 0;
	value = getenv(name);
	return value && *value ? value : NULL;
}

static int take_variable(struct parse *p, const struct option *o, struct error *e)
{
	char buffer[KEY_SIZE], name[KEY_SIZE + 5];
	const char *key = option_key(o, buffer), *value = key ? variable(key, name) : NULL;
	size_t count;
	const struct known_key *k = known_keys(&count);

	for (size_t i = 0; key && !value && i < count; i++)
		if (k[i].alias && !strcmp(k[i].alias, key) && !option_by_key(p->tool, k[i].name))
			value = variable(k[i].name, name);
	if (!value)
		return 0;
	set_origin(p, o, name);
	return option_take(o, value, name, e);
}

static void keep_first(struct error *first, const struct error *e)
{
	if (!first->code)
		*first = *e;
}

/* --vae '' is vae = "" of a configuration file.  What is no key there may be an empty text: a prompt. */
static bool means_unset(const struct given *g)
{
	const enum option_kind kind = g->option->kind;
	char buffer[KEY_SIZE];

	return (kind == OPTION_STRING || kind == OPTION_CHOICE || kind == OPTION_LIST) && g->text && !*g->text &&
	       !g->option->keeps_empty && option_key(g->option, buffer);
}

static int apply_given(struct parse *p, const struct given *g, struct error *e)
{
	char where[100];

	if (means_unset(g)) {
		option_reset(g->option);
		free(p->origin[g->option - p->tool->table]);
		p->origin[g->option - p->tool->table] = NULL;
		return 0;
	}
	snprintf(where, sizeof(where), "--%s", g->option->name);
	set_origin(p, g->option, COMMAND_LINE);
	return option_take(g->option, g->off ? "false" : g->text ? g->text : "true", where, e);
}

/* A value that decides what the others mean is judged before their numbers are. */
static int refuse_value(const struct parse *p, struct error *e)
{
	char buffer[KEY_SIZE];

	for (size_t i = 0; i < p->count; i++) {
		const struct option *o = &p->tool->table[i];
		const char *value = o->refused ? *(const char **)o->value : NULL;
		for (const struct option_refusal *r = o->refused; value && r->value; r++)
			if (!strcasecmp(r->value, value))
				return fail(e, EXIT_USAGE, "%s: %s '%s' is not supported: %s", p->origin[i],
					    option_key(o, buffer), value, r->say);
	}
	return 0;
}

static int take_sources(struct command_line *c, struct error *e)
{
	struct parse *p = c->p;
	struct error first = { 0 };

	for (size_t i = 0; i < c->configs; i++)
		if (claim_input(c->config[i], e) || options_read_config(p, c->config[i], e))
			keep_first(&first, e);
	for (size_t i = 0; p->tool->takes_config && i < p->count; i++)
		if (take_variable(p, &p->tool->table[i], e))
			keep_first(&first, e);
	if (c->launch && (claim_input(c->launch, e) || options_read_launch(p, c->launch, e)))
		keep_first(&first, e);
	for (size_t i = 0; i < c->count; i++)
		if (apply_given(p, &c->given[i], e))
			keep_first(&first, e);
	if (!p->preset.len && refuse_value(p, e))
		return -1;
	*e = first;
	return first.code ? -1 : 0;
}

/* A preset in the words of a GUI was refused; here it is in ours. */
static _Noreturn void finish_with(const struct error *e, const struct buffer *preset, bool asked_for)
{
	int code = report(e);

	struct error late;

	if (preset->len && print_text_to(asked_for ? STDOUT_FILENO : STDERR_FILENO, preset->data, preset->len, &late))
		code = EXIT_IO;
	exit(code);
}

int options_parse(const struct tool *tool, int argc, char **argv)
{
	struct command_line c = { .p = parse_begin(tool), .argc = argc, .argv = argv };
	struct error e = { 0 };
	struct buffer text = { 0 };

	if (cpu_set_check(&e) || read_command_line(&c, &e) || (c.said && said_open(c.said, &e)))
		finish(&e);
	if (take_sources(&c, &e))
		finish_with(&e, &c.p->preset, c.print_config);
	if (tool->takes_config)
		options_check_environment(tool);
	free(c.given);
	free(c.config);
	free(c.p->noted);
	if (c.print_config) {
		buffer_adds(&text, "");
		options_print(tool, &text, true);
		print_and_exit(&text);
	}
	if (options_claim_files(c.p, argv, c.operands, &e))
		finish(&e);
	threads_tell();
	return c.operands;
}
