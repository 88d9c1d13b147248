/* Configuration files: whose file it is, which keys are ours, what to say about the others. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "../base/map.h"
#include "../io/toml.h"
#include "known_keys.h"
#include "options_private.h"

/* Files that look like ours and are not.  Half-reading one is the worst answer. */
static const struct sign {
	const char *table;      /* NULL: at the top or in any table of the first level */
	const char *key;
	bool array;             /* the key must be an array, as [[key]] makes one */
	const char *say;
} signs[] = {
	{ NULL, "datasets", true, "dataset configs are not yet implemented; give the folders to lora-prep, and only training keys here" },
	{ NULL, "dataset", true, "this is a dataset config of an early sd-scripts; give the folders to lora-prep, and only training keys here" },
	{ "general_args", "args", false, "this is a file of Easy Training Scripts; export it there for sd-scripts, or write the keys anew" },
	{ NULL, "dit", false, "this is a file of musubi-tuner, for video models; write the keys of lora-config(5)" },
	{ NULL, "discrete_flow_shift", false, "this is a file of musubi-tuner, for video models; write the keys of lora-config(5)" },
	{ NULL, "micro_batch_size_per_gpu", false, "this is a file of diffusion-pipe; write the keys of lora-config(5)" },
	{ "model", "type", false, "this is a file of diffusion-pipe; write the keys of lora-config(5)" },
	{ NULL, "directory", true, "this is a dataset file of diffusion-pipe; give the folders to lora-prep" },
	{ "prompt", "subset", true, "this is a prompt file; name it in sample_prompts or give it to lora-sample --prompts" },
	{ NULL, "LoRA_type", false, "these are settings of the kohya_ss GUI; print its training command there and use the TOML that it writes" },
	{ NULL, "accelerate_launch", false, "these are settings of the kohya_ss GUI; print its training command there and use the TOML that it writes" },
	{ NULL, "folders", false, "these are settings of the kohya_ss GUI; print its training command there and use the TOML that it writes" },
};

static const struct toml *found_in(const struct toml *table, const struct sign *sign)
{
	const struct toml *t = table->kind == TOML_TABLE ? toml_get(table, sign->key) : NULL;

	return t && (!sign->array || (t->kind == TOML_ARRAY && t->child && t->child->kind == TOML_TABLE)) ? t : NULL;
}

static const struct toml *sign_in(const struct toml *root, const struct sign *sign)
{
	const struct toml *t, *found = NULL;

	if (sign->table) {
		t = toml_get(root, sign->table);
		return t ? found_in(t, sign) : NULL;
	}
	found = found_in(root, sign);
	for (t = root->child; t && !found; t = t->next)
		found = found_in(t, sign);
	return found;
}

static int refuse_foreign(const struct toml *root, const char *path, struct error *e)
{
	for (size_t i = 0; i < sizeof(signs) / sizeof(*signs); i++) {
		const struct toml *t = sign_in(root, &signs[i]);
		if (t)
			return fail(e, EXIT_USAGE, "%s:%d: %s", path, t->line, signs[i].say);
	}
	return 0;
}

/* A scalar as the command line would say it; malloced, NULL for tables, arrays and text with a NUL inside. */
static char *scalar_text(const struct toml *t)
{
	struct buffer number = { 0 };

	switch (t->kind) {
	case TOML_STRING:
		return strlen(t->text) == t->length ? xstrdup(t->text) : NULL;
	case TOML_DATETIME:
		return xstrdup(t->text);
	case TOML_INTEGER:
		return xprintf("%lld", (long long)t->integer);
	case TOML_FLOAT:
		option_add_number(&number, t->number);
		return buffer_steal(&number);
	case TOML_BOOLEAN:
		return xstrdup(t->boolean ? "true" : "false");
	default:
		return NULL;
	}
}

static bool among(const char *word, const char *list)
{
	for (; list && *list; list += strcspn(list, "|"), list += *list == '|') {
		size_t n = strcspn(list, "|");
		if (n == strlen(word) && !strncasecmp(word, list, n))
			return true;
	}
	return false;
}

/* Does the line ask for nothing?  neutral: the values of this key, besides the usual ones, that mean so. */
static bool asks_for_nothing(const struct toml *t, const char *neutral)
{
	char *text = scalar_text(t);
	bool nothing;

	if (t->kind == TOML_ARRAY)
		return !t->child;
	if (!text)
		return false;
	nothing = !*text || among(text, "false|0|none|null") || among(text, neutral);
	free(text);
	return nothing;
}

static bool fits(enum option_kind option, enum toml_kind value)
{
	switch (option) {
	case OPTION_FLAG:
	case OPTION_INT:
	case OPTION_SIZE:
		return value == TOML_INTEGER || value == TOML_STRING || (option == OPTION_FLAG && value == TOML_BOOLEAN);
	case OPTION_NUMBER:
	case OPTION_STRING:             /* seed = 42, lr_warmup_steps = 0.1: their options want the text */
		return value == TOML_INTEGER || value == TOML_FLOAT || value == TOML_STRING;
	default:
		return value == TOML_STRING;
	}
}

static const char *kind_name(enum toml_kind kind)
{
	static const char *const names[] = {
		[TOML_STRING] = "a text", [TOML_INTEGER] = "a whole number", [TOML_FLOAT] = "a fraction",
		[TOML_BOOLEAN] = "true or false", [TOML_DATETIME] = "a date", [TOML_ARRAY] = "an array", [TOML_TABLE] = "a table",
	};

	return names[kind];
}

static int misfit(const struct option *o, const struct toml *t, const char *where, struct error *e)
{
	struct buffer expected = { 0 };

	option_expected(o, &expected);
	fail(e, EXIT_USAGE, "%s: %s does not fit; give %s", where, kind_name(t->kind), expected.data);
	buffer_free(&expected);
	return -1;
}

static int take_scalar(const struct option *o, const struct toml *t, const char *where, struct error *e)
{
	char *text;
	int status;

	if (!fits(o->kind, t->kind))
		return misfit(o, t, where, e);
	text = scalar_text(t);
	if (!text)
		return fail(e, EXIT_USAGE, "%s: the text holds a NUL character; remove it", where);
	status = option_take(o, text, where, e);
	free(text);
	return status;
}

static int take_list(const struct option *o, const struct toml *t, const char *where, struct error *e)
{
	for (const struct toml *item = t->child; item; item = item->next)
		if (take_scalar(o, item, where, e))
			return -1;
	return 0;
}

/* [1024, 768] for "1024,768" */
static int take_size_array(const struct option *o, const struct toml *t, const char *where, struct error *e)
{
	const struct toml *w = t->child, *h = w ? w->next : NULL;
	char *text;
	int status;

	if (!h || h->next || w->kind != TOML_INTEGER || h->kind != TOML_INTEGER)
		return misfit(o, t, where, e);
	text = xprintf("%lld,%lld", (long long)w->integer, (long long)h->integer);
	status = option_take(o, text, where, e);
	free(text);
	return status;
}

static int take_value(const struct option *o, const struct toml *t, const char *where, struct error *e)
{
	if (o->kind == OPTION_LIST)
		option_clear_list(o);
	if (t->kind == TOML_ARRAY && o->kind == OPTION_LIST)
		return take_list(o, t, where, e);
	if (t->kind == TOML_ARRAY && o->kind == OPTION_SIZE)
		return take_size_array(o, t, where, e);
	return take_scalar(o, t, where, e);
}

/* "" for anything, and false where a text is wanted (resume = false is in people's files). */
static bool means_unset(const struct option *o, const struct toml *t)
{
	bool text = o->kind == OPTION_STRING || o->kind == OPTION_CHOICE || o->kind == OPTION_LIST;

	return (t->kind == TOML_STRING && !t->length) || (text && t->kind == TOML_BOOLEAN && !t->boolean);
}

/* A key given twice in one file: the later line wins, as with kohya, but nobody expects the earlier one to do nothing. */
static void tell_override(const struct option *o, const char *path, const char *old_origin, const char *old_value,
			  const struct toml *t)
{
	struct buffer value = { 0 };
	size_t n = strlen(path);

	option_print_value(o, &value);
	if (old_origin && !strncmp(old_origin, path, n) && old_origin[n] == ':' && strcmp(value.data, old_value))
		note("%s:%d: %s = %s replaces %s of line %s", path, t->line, t->key, value.data, old_value, old_origin + n + 1);
	buffer_free(&value);
}

static int set_option(struct parse *p, const struct option *o, const struct toml *t, const char *path, struct error *e)
{
	char **origin = &p->origin[o - p->tool->table];
	struct buffer old = { 0 };
	char *where;
	int status;

	if (means_unset(o, t)) {
		option_reset(o);
		free(*origin);
		*origin = NULL;
		return 0;
	}
	where = xprintf("%s:%d: %s", path, t->line, t->key);
	option_print_value(o, &old);
	status = take_value(o, t, where, e);
	if (!status) {
		tell_override(o, path, *origin, old.data, t);
		free(*origin);
		*origin = xprintf("%s:%d", path, t->line);
	}
	buffer_free(&old);
	free(where);
	return status;
}

static int unknown_key(const struct parse *p, const struct toml *t, const char *path, struct error *e)
{
	size_t known, count = 0;
	const struct known_key *k = known_keys(&known);
	const char **names = xmalloc((known + p->count) * sizeof(*names)), *near;
	char (*own)[KEY_SIZE] = xmalloc(p->count * sizeof(*own) + 1);

	for (size_t i = 0; i < known; i++)
		names[count++] = k[i].name;
	for (size_t i = 0; i < p->count; i++) {
		const char *key = option_key(&p->tool->table[i], own[i]);
		if (key)
			names[count++] = key;
	}
	near = nearest_name(t->key, names, count);
	if (near)
		fail(e, EXIT_USAGE, "%s:%d: unknown key '%s'; did you mean '%s'?", path, t->line, t->key, near);
	else
		fail(e, EXIT_USAGE, "%s:%d: unknown key '%s'; remove the line, or see lora-config(5)", path, t->line, t->key);
	free(own);
	free(names);
	return -1;
}

static void note_once(struct parse *p, const struct known_key *k, const struct toml *t, const char *path)
{
	bool *noted = &p->noted[k - known_keys(&(size_t){ 0 })];
	const char *what = k->class == KEY_OURS ? "" : k->class == KEY_IGNORED ? " is ignored" : " is no key of sd-scripts and is ignored";

	if (!*noted)
		note("%s:%d: '%s'%s: %s", path, t->line, k->name, what, k->say);
	*noted = true;
}

static int not_yet(const struct toml *t, const char *path, const char *say, const char *neutral, struct error *e)
{
	return fail(e, EXIT_USAGE, "%s:%d: '%s' is not yet implemented%s%s; %s%.*s%sremove the line", path, t->line, t->key,
		    say ? ": " : "", say ? say : "", neutral ? "write " : "", neutral ? (int)strcspn(neutral, "|") : 0,
		    neutral ? neutral : "", neutral ? " or " : "");
}

static int known_but_no_option(struct parse *p, const struct known_key *k, const struct toml *t, const char *path, struct error *e)
{
	if (k->class == KEY_OURS || asks_for_nothing(t, k->neutral))
		return 0;
	if (k->class == KEY_LATER)
		return not_yet(t, path, k->say, k->neutral, e);
	if (k->class == KEY_REFUSED)
		return fail(e, EXIT_USAGE, "%s:%d: '%s' is refused: %s; remove the line", path, t->line, t->key, k->say);
	note_once(p, k, t, path);
	return 0;
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
	if (o && o->kind == OPTION_LATER)
		return asks_for_nothing(t, k ? k->neutral : NULL) ? 0 : not_yet(t, path, NULL, k ? k->neutral : NULL, e);
	if (o)
		return set_option(p, o, t, path, e);
	return k ? known_but_no_option(p, k, t, path, e) : unknown_key(p, t, path, e);
}

static int take_pairs(struct parse *p, const struct toml *table, const char *path, struct error *e)
{
	for (const struct toml *t = table->child; t; t = t->next) {
		if (t->kind == TOML_TABLE)
			return fail(e, EXIT_USAGE, "%s:%d: the table '%s' stands inside another; move its keys to a [table] of the first level",
				    path, t->line, t->key);
		if (take_pair(p, t, path, e))
			return -1;
	}
	return 0;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcasecmp(s + n - m, end);
}

int options_read_config(struct parse *p, const char *path, struct error *e)
{
	struct toml *root;
	int status;

	if (ends_with(path, ".json") || ends_with(path, ".yaml") || ends_with(path, ".yml"))
		return fail(e, EXIT_USAGE, "%s: not a TOML file; write the keys of lora-config(5) into a .toml", path);
	root = toml_read(path, e);
	if (!root) {
		e->code = EXIT_USAGE;
		return -1;
	}
	status = refuse_foreign(root, path, e);
	for (const struct toml *t = root->child; t && !status; t = t->next)
		status = t->kind == TOML_TABLE ? take_pairs(p, t, path, e) : take_pair(p, t, path, e);
	toml_free(root);
	return status;
}
