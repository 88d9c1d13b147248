/* Prompt files in TOML and JSON. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../io/json.h"
#include "../io/toml.h"
#include "prompts.h"

#define FILE_CAP (16u << 20)

/* sd-scripts' names in tables, and the option of a line that says the same. */
static const struct { const char *key, *option; } fields[] = {
	{ "negative_prompt", "n" }, { "width", "w" }, { "height", "h" }, { "seed", "d" }, { "sample_steps", "s" },
	{ "scale", "l" },
	{ "sample_sampler", "ss" },
};

static int set_field(const char *where, const char *key, const char *value, struct prompt *p, struct error *e)
{
	size_t i;

	if (!strcmp(key, "prompt")) {
		free(p->text);
		p->text = xstrdup(value);
		return 0;
	}
	for (i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (!strcmp(key, fields[i].key))
			return prompt_set(where, fields[i].option, value, p, e);
	return fail(e, EXIT_USAGE, "%s: unknown key '%s'; prompt, negative_prompt, width, height, seed, "
				   "sample_steps, scale and sample_sampler are known", where, key);
}

/* Takes p, with what it owns, whether or not it is whole. */
static int add(const char *where, struct prompt_list *list, struct prompt *p, struct error *e)
{
	p->where = xstrdup(where);
	GROW(list->prompt, list->count, list->capacity);
	list->prompt[list->count++] = *p;
	return p->text ? 0 : fail(e, EXIT_USAGE, "%s: no 'prompt' in it", where);
}

/* ---- TOML ---- */

static char *toml_text(const struct toml *v)
{
	switch (v->kind) {
	case TOML_STRING:  return strlen(v->text) == v->length ? xstrdup(v->text) : NULL;
	case TOML_INTEGER: return xprintf("%" PRId64, v->integer);
	case TOML_FLOAT:   return xprintf("%.17g", v->number);
	default:           return NULL;
	}
}

/* The values of a table; tables inside it are somebody else's. */
static int take_toml(const char *path, const struct toml *table, struct prompt *p, struct error *e)
{
	const struct toml *v;
	int result = 0;

	for (v = table->child; v && !result; v = v->next) {
		char *text = toml_text(v), *where = xprintf("%s:%d", path, v->line);
		if (text)
			result = set_field(where, v->key, text, p, e);
		else if (strcmp(v->key, "subset"))
			result = fail(e, EXIT_USAGE, "%s: '%s' is neither text nor number", where, v->key);
		free(where);
		free(text);
	}
	return result;
}

static int add_subset(const char *path, const struct toml *common, const struct toml *subset, struct prompt_list *list,
		      struct error *e)
{
	struct prompt p = { .cfg = -1 };
	char *where = xprintf("%s:%d", path, subset->line);
	int result = subset->kind == TOML_TABLE ? 0 : fail(e, EXIT_USAGE, "%s: a subset is a table", where);

	if (!result && take_toml(path, common, &p, e) == 0 && take_toml(path, subset, &p, e) == 0) {
		result = add(where, list, &p, e);
	} else {
		prompt_free(&p);
		result = -1;
	}
	free(where);
	return result;
}

int prompts_read_toml(const char *path, struct prompt_list *list, struct error *e)
{
	struct toml *root = toml_read(path, e);
	const struct toml *common = root ? toml_get(root, "prompt") : NULL;
	const struct toml *subsets = common && common->kind == TOML_TABLE ? toml_get(common, "subset") : NULL, *s;
	int result = 0;

	if (!root)
		return -1;
	if (!subsets || subsets->kind != TOML_ARRAY)
		result = fail(e, EXIT_USAGE, "%s: no [[prompt.subset]] in it; write one for each prompt", path);
	else
		for (s = subsets->child; s && !result; s = s->next)
			result = add_subset(path, common, s, list, e);
	toml_free(root);
	return result;
}

/* ---- JSON: of a value nobody knows the line, so a message counts entries ---- */

static char *json_value_text(const json_t *v)
{
	if (json_is_string(v))
		return xstrdup(json_string_value(v));
	if (json_is_integer(v))
		return xprintf("%" JSON_INTEGER_FORMAT, json_integer_value(v));
	return json_is_real(v) ? xprintf("%.17g", json_real_value(v)) : NULL;
}

static int add_object(const char *where, json_t *object, struct prompt_list *list, struct error *e)
{
	struct prompt p = { .cfg = -1 };
	const char *key;
	const json_t *v;
	int result = 0;

	json_object_foreach(object, key, v) {
		char *text = json_value_text(v);
		if (!result)
			result = text ? set_field(where, key, text, &p, e) :
				 fail(e, EXIT_USAGE, "%s: '%s' is neither text nor number", where, key);
		free(text);
	}
	if (!result)
		return add(where, list, &p, e);
	prompt_free(&p);
	return -1;
}

static int add_entry(const char *where, json_t *item, struct prompt_list *list, struct error *e)
{
	if (json_is_string(item))
		return prompt_parse(where, json_string_value(item), list, e);
	if (json_is_object(item))
		return add_object(where, item, list, e);
	return fail(e, EXIT_USAGE, "%s: neither an object nor a line of text", where);
}

int prompts_read_json(const char *path, struct prompt_list *list, struct error *e)
{
	json_t *root = json_read_wide(path, FILE_CAP, e);
	size_t i;
	int result = 0;

	if (!root)
		return -1;
	if (!json_is_array(root))
		result = fail(e, EXIT_USAGE, "%s: no list of prompts", path);
	for (i = 0; i < json_array_size(root) && !result; i++) {
		char *where = xprintf("%s: entry %zu", path, i + 1);
		result = add_entry(where, json_array_get(root, i), list, e);
		free(where);
	}
	json_decref(root);
	return result;
}
