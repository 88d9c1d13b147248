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

/* What works here and stops sd-scripts, or means something else there. */
static const struct trap { const char *key; enum toml_kind kind; const char *say; } traps[] = {
	{ "resolution", TOML_INTEGER, "sd-scripts stops at a number here; for it write it in quotes" },
};

static void tell_traps(const struct toml *t, const char *path)
{
	for (size_t i = 0; i < sizeof(traps) / sizeof(*traps); i++)
		if (!strcmp(traps[i].key, t->key) && traps[i].kind == t->kind)
			note("%s:%d: '%s': %s", path, t->line, t->key, traps[i].say);
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
	where = xprintf("%s:%d: %s", path, t->line, t->key);
	option_print_value(o, &old);
	status = option_take_toml(o, t, where, e);
	if (!status) {
		tell_override(o, path, *origin, old.data, t);
		tell_traps(t, path);
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

static int known_but_no_option(struct parse *p, const struct known_key *k, const struct toml *t, const char *path, struct error *e)
{
	if (k->class == KEY_OURS || toml_asks_for_nothing(t, k->neutral))
		return 0;
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
		return toml_asks_for_nothing(t, k ? k->neutral : NULL) ? 0 :
		       fail(e, EXIT_USAGE, "%s:%d: '%s' is not yet implemented; remove the line", path, t->line, t->key);
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

static int take_table(struct parse *p, const struct toml *t, const struct toml *datasets, const char *path, struct error *e)
{
	if (datasets && t == datasets)
		return leave_dataset(p, t, path, e);
	if (datasets && !strcmp(t->key, "general"))
		return 0;
	return t->kind == TOML_TABLE ? take_pairs(p, t, path, e) : take_pair(p, t, path, e);
}

int options_read_config(struct parse *p, const char *path, struct error *e)
{
	struct toml *root;
	const struct toml *datasets;
	int status;

	if (ends_with(path, ".json") || ends_with(path, ".yaml") || ends_with(path, ".yml"))
		return fail(e, EXIT_USAGE, "%s: not a TOML file; write the keys of lora-config(5) into a .toml", path);
	root = toml_read(path, e);
	if (!root) {
		e->code = EXIT_USAGE;
		return -1;
	}
	status = refuse_foreign(root, path, e);
	datasets = toml_dataset_tables(root);
	for (const struct toml *t = root->child; t && !status; t = t->next)
		status = take_table(p, t, datasets, path, e);
	toml_free(root);
	return status;
}
