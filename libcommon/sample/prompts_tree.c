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

static int set_field(const char *path, int line, const char *key, const char *value, struct prompt *p, struct error *e)
{
	size_t i;

	if (!strcmp(key, "prompt")) {
		free(p->text);
		p->text = xstrdup(value);
		return 0;
	}
	for (i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (!strcmp(key, fields[i].key))
			return prompt_set(path, line, fields[i].option, value, p, e);
	return fail(e, EXIT_USAGE, "%s:%d: unknown key '%s'; prompt, negative_prompt, width, height, seed, "
				   "sample_steps, scale and sample_sampler are known", path, line, key);
}

static int add(const char *path, int line, struct prompt_list *list, struct prompt *p, struct error *e)
{
	p->line = line;
	GROW(list->prompt, list->count, list->capacity);
	list->prompt[list->count++] = *p;
	return p->text ? 0 : fail(e, EXIT_USAGE, "%s:%d: no 'prompt' in it", path, line);
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
		char *text = toml_text(v);
		if (text)
			result = set_field(path, v->line, v->key, text, p, e);
		else if (strcmp(v->key, "subset"))
			result = fail(e, EXIT_USAGE, "%s:%d: '%s' is neither text nor number", path, v->line, v->key);
		free(text);
	}
	return result;
}

static int add_subset(const char *path, const struct toml *common, const struct toml *subset, struct prompt_list *list,
		      struct error *e)
{
	struct prompt p = { .cfg = -1 };

	if (subset->kind == TOML_TABLE && take_toml(path, common, &p, e) == 0 && take_toml(path, subset, &p, e) == 0)
		return add(path, subset->line, list, &p, e);
	free(p.text);
	free(p.negative);
	free(p.sampler);
	return subset->kind == TOML_TABLE ? -1 : fail(e, EXIT_USAGE, "%s:%d: a subset is a table", path, subset->line);
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

/* ---- JSON: a prompt's number stands for its line ---- */

static char *json_value_text(const json_t *v)
{
	if (json_is_string(v))
		return xstrdup(json_string_value(v));
	if (json_is_integer(v))
		return xprintf("%" JSON_INTEGER_FORMAT, json_integer_value(v));
	return json_is_real(v) ? xprintf("%.17g", json_real_value(v)) : NULL;
}

static int add_object(const char *path, int number, json_t *object, struct prompt_list *list, struct error *e)
{
	struct prompt p = { .cfg = -1 };
	const char *key;
	const json_t *v;
	int result = 0;

	json_object_foreach(object, key, v) {
		char *text = json_value_text(v);
		if (!result)
			result = text ? set_field(path, number, key, text, &p, e) :
				 fail(e, EXIT_USAGE, "%s:%d: '%s' is neither text nor number", path, number, key);
		free(text);
	}
	if (!result)
		return add(path, number, list, &p, e);
	free(p.text);
	free(p.negative);
	free(p.sampler);
	return -1;
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
		json_t *item = json_array_get(root, i);
		if (json_is_string(item))
			result = prompt_parse(path, i + 1, json_string_value(item), list, e);
		else if (json_is_object(item))
			result = add_object(path, i + 1, item, list, e);
		else
			result = fail(e, EXIT_USAGE, "%s:%zu: neither an object nor a line of text", path, i + 1);
	}
	json_decref(root);
	return result;
}
