/* From a TOML value to an option's value; TOML values that ask for nothing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "options_private.h"

const struct toml *toml_dataset_tables(const struct toml *root)
{
	const struct toml *t = toml_get(root, "datasets");

	return t && t->kind == TOML_ARRAY && t->child && t->child->kind == TOML_TABLE ? t : NULL;
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

bool word_is_among(const char *word, const char *list)
{
	for (; list && *list; list += strcspn(list, "|"), list += *list == '|') {
		size_t n = strcspn(list, "|");
		if (n == strlen(word) && !strncasecmp(word, list, n))
			return true;
	}
	return false;
}

/* Does the line ask for nothing?  neutral: the values of this key, besides the usual ones, that mean so. */
bool toml_asks_for_nothing(const struct toml *t, const char *neutral)
{
	char *text = scalar_text(t);
	bool nothing;

	if (t->kind == TOML_ARRAY)
		return !t->child;
	if (!text)
		return false;
	nothing = !*text || word_is_among(text, "false|0|none|null") || word_is_among(text, neutral);
	free(text);
	return nothing;
}

/* 1.0 is no fraction: presets of GUIs are full of it. */
static enum toml_kind kind_of(const struct toml *t)
{
	return t->kind == TOML_FLOAT && t->number == floor(t->number) ? TOML_INTEGER : t->kind;
}

static bool fits(enum option_kind option, const struct toml *t)
{
	enum toml_kind value = kind_of(t);

	switch (option) {
	case OPTION_FLAG:
	case OPTION_SWITCH:
		return value == TOML_INTEGER || value == TOML_STRING || value == TOML_BOOLEAN;
	case OPTION_INT:
	case OPTION_SIZE:
		return value == TOML_INTEGER || value == TOML_STRING;
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
		[TOML_BOOLEAN] = "true or false", [TOML_DATETIME] = "a date", [TOML_ARRAY] = "an array",
		[TOML_TABLE] = "a table",
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

	if (!fits(o->kind, t))
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

	if (!h || h->next || kind_of(w) != TOML_INTEGER || kind_of(h) != TOML_INTEGER)
		return misfit(o, t, where, e);
	text = xprintf("%.0f,%.0f", w->number, h->number);
	status = option_take(o, text, where, e);
	free(text);
	return status;
}

/* [4, 8] for "4,8": block_dims and the like; ["1e-4", "5e-5"] too */
static int take_joined(const struct option *o, const struct toml *t, const char *where, struct error *e)
{
	struct buffer all = { 0 };
	int status;

	for (const struct toml *item = t->child; item; item = item->next) {
		char *text = item->kind <= TOML_FLOAT ? scalar_text(item) : NULL;
		if (!text) {
			buffer_free(&all);
			return misfit(o, t, where, e);
		}
		buffer_addf(&all, "%s%s", all.len ? "," : "", text);
		free(text);
	}
	status = option_take(o, all.data ? all.data : "", where, e);
	buffer_free(&all);
	return status;
}

int option_take_toml(const struct option *o, const struct toml *t, const char *where, struct error *e)
{
	if (o->kind == OPTION_LIST)
		option_clear_list(o);
	if (t->kind == TOML_ARRAY && o->kind == OPTION_LIST)
		return take_list(o, t, where, e);
	if (t->kind == TOML_ARRAY && o->kind == OPTION_STRING)
		return take_joined(o, t, where, e);
	if (t->kind == TOML_ARRAY && o->kind == OPTION_SIZE)
		return take_size_array(o, t, where, e);
	return take_scalar(o, t, where, e);
}

/* "" and [] for anything, and false where a text is wanted (resume = false is in people's files). */
bool toml_means_unset(const struct option *o, const struct toml *t)
{
	bool text = o->kind == OPTION_STRING || o->kind == OPTION_CHOICE || o->kind == OPTION_LIST;

	return (t->kind == TOML_STRING && !t->length) || (t->kind == TOML_ARRAY && !t->child) ||
		(text && t->kind == TOML_BOOLEAN && !t->boolean);
}
