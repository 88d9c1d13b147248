/* A caption as one step reads it: options, draws, shuffling and dropout of tags. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../base/philox.h"
#include "caption.h"
#include "caption_tags.h"
#include "caption_wildcards.h"

#define DRAW_DROPOUT 1
#define DRAW_FIRST 2

/* ---- options ---- */

enum kind { FLAG, WHOLE, NUMBER, TEXT };

/* makes: it decides which variants a caption has.  off: a text that is as good as none */
static const struct field { const char *key; enum kind kind; size_t at; double max; bool makes; const char *off;
} fields[] = {
	{ "shuffle_caption", FLAG, offsetof(struct caption_options, shuffle), .makes = true },
	{ "enable_wildcard", FLAG, offsetof(struct caption_options, wildcard), .makes = true },
	{ "keep_tokens", WHOLE, offsetof(struct caption_options, keep_tokens), 1e6, true },
	{ "keep_tokens_separator", TEXT, offsetof(struct caption_options, keep_separator), .makes = true },
	{ "caption_separator", TEXT, offsetof(struct caption_options, separator), .makes = true,
	  .off = "," },
	{ "secondary_separator", TEXT, offsetof(struct caption_options, second_separator), .makes = true },
	{ "caption_dropout_rate", NUMBER, offsetof(struct caption_options, dropout), 1 },
	{ "caption_dropout_every_n_epochs", WHOLE, offsetof(struct caption_options, dropout_every_epochs), 1e6 },
	{ "caption_tag_dropout_rate", NUMBER, offsetof(struct caption_options, tag_dropout), 1, true },
	{ "token_warmup_min", WHOLE, offsetof(struct caption_options, warmup_min), 1e6 },
	{ "token_warmup_step", NUMBER, offsetof(struct caption_options, warmup_steps), 1e9 },
};

static bool take(void *field, enum kind kind, double max, const json_t *v)
{
	double x = json_number_value(v);

	switch (kind) {
	case FLAG:
		*(bool *)field = json_is_true(v);
		return json_is_boolean(v);
	case TEXT:
		*(const char **)field = json_string_value(v);
		return json_is_string(v) && *json_string_value(v);
	case WHOLE:
		if (!json_is_integer(v) || !(x >= 0 && x <= max))
			return false;
		*(long *)field = json_integer_value(v);
		return true;
	default:
		*(double *)field = x;
		return json_is_number(v) && x >= 0 && x <= max;
	}
}

int caption_options_override(const struct caption_options *base, const json_t *own, const char *where,
			     struct caption_options *out, struct error *e)
{
	*out = *base;
	out->source = NULL;
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		const json_t *v = json_object_get(own, fields[i].key);
		if (v && !take((char *)out + fields[i].at, fields[i].kind, fields[i].max, v))
			return fail(e, EXIT_INPUT, "%s: caption option '%s' does not fit; prepare the pictures again",
				    where, fields[i].key);
	}
	out->source = json_incref((json_t *)own);
	return 0;
}

/* As JSON, new; NULL where it is off. */
static json_t *value_of(const struct caption_options *o, const struct field *f)
{
	const void *at = (const char *)o + f->at;
	const char *text;

	switch (f->kind) {
	case FLAG:
		return *(const bool *)at ? json_true() : NULL;
	case TEXT:
		text = *(const char *const *)at;
		return text && !(f->off && !strcmp(text, f->off)) ? json_string(text) : NULL;
	case WHOLE:
		return *(const long *)at ? json_integer(*(const long *)at) : NULL;
	default:
		return *(const double *)at ? json_real(*(const double *)at) : NULL;
	}
}

json_t *caption_options_making(const struct caption_options *o)
{
	json_t *all = json_object();

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		json_t *v = fields[i].makes ? value_of(o, &fields[i]) : NULL;

		if (v)
			json_object_set_new(all, fields[i].key, v);
	}
	return all;
}

const char *caption_options_other(const struct caption_options *o, const struct caption_options *than)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		json_t *x = fields[i].makes ? value_of(o, &fields[i]) : NULL, *y = value_of(than, &fields[i]);
		const bool other = x && !(y && json_equal(x, y));

		json_decref(x);
		json_decref(y);
		if (other)
			return fields[i].key;
	}
	return NULL;
}

void caption_options_free(struct caption_options *o)
{
	json_decref(o->source);
	o->source = NULL;
}

bool caption_options_vary(const struct caption_options *o)
{
	return o->shuffle || o->wildcard || o->tag_dropout > 0 || o->warmup_steps > 0;
}

bool caption_options_drop(const struct caption_options *o)
{
	return o->dropout > 0 || o->dropout_every_epochs;
}

int caption_options_check(const struct caption_options *o, struct error *e)
{
	const struct { const char *key, *text; } texts[] = {
		{ "keep_tokens_separator", o->keep_separator }, { "caption_separator", o->separator },
		{ "secondary_separator", o->second_separator },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		const char *text = texts[i].text;
		if (text && !*text)
			return fail(e, EXIT_USAGE, "%s is empty and would be found everywhere; "
						   "write what separates, or leave it out", texts[i].key);
		if (text && utf8_prefix(text, strlen(text)) < strlen(text))
			return fail(e, EXIT_USAGE, "%s: '%s' is not UTF-8; write it in UTF-8", texts[i].key, text);
	}
	return 0;
}

/* ---- draws ---- */

struct draws { struct random r; uint32_t next; };

static struct draws draws_of(const struct caption_visit *v)
{
	return (struct draws){ { v->seed, RANDOM_CAPTION, v->step, v->item }, DRAW_FIRST };
}

static uint32_t draw_below(struct draws *d, uint32_t n)
{
	return random_below(&d->r, d->next++, n);
}

static uint32_t choose(void *d, uint32_t n)
{
	return draw_below(d, n);
}

bool caption_left_out(const struct caption_options *o, const struct caption_visit *v)
{
	struct draws d = draws_of(v);

	if (o->dropout_every_epochs && (v->epoch + 1) % o->dropout_every_epochs == 0)
		return true;
	return o->dropout > 0 && random_uniform(&d.r, DRAW_DROPOUT) < o->dropout;
}

static void cut_to(struct tag_list *t, size_t count)
{
	while (t->count > count)
		free(t->tag[--t->count]);
}

static void warm_up(const struct caption_options *o, const struct caption_visit *v, struct tag_list *t)
{
	double whole = o->warmup_steps < 1 ? floor(o->warmup_steps * v->total) : o->warmup_steps, count;

	if (!(whole > 0) || v->step >= whole)
		return;
	count = floor(v->step * ((double)t->count - o->warmup_min) / whole) + o->warmup_min;
	cut_to(t, count > 0 ? (size_t)count : 0);
}

static void shuffle(struct draws *d, struct tag_list *t)
{
	for (size_t left = t->count; left > 1; left--) {
		size_t pick = draw_below(d, (uint32_t)left);
		char *last = t->tag[left - 1];
		t->tag[left - 1] = t->tag[pick];
		t->tag[pick] = last;
	}
}

static void drop(struct draws *d, double rate, struct tag_list *t)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->count; i++)
		if (random_uniform(&d->r, d->next++) >= rate)
			t->tag[kept++] = t->tag[i];
		else
			free(t->tag[i]);
	t->count = kept;
}

static char *vary_tags(const struct caption_options *o, struct draws *d, const struct caption_visit *v,
		       const char *text)
{
	struct tag_list part[3] = { 0 };
	char *joined;

	tags_cut(o, text, part);
	if (o->warmup_steps > 0)
		warm_up(o, v, &part[1]);
	if (o->shuffle)
		shuffle(d, &part[1]);
	if (o->tag_dropout > 0)
		drop(d, o->tag_dropout, &part[1]);
	joined = tags_join(o, part);
	for (int p = 0; p < 3; p++)
		tag_list_free(&part[p]);
	return joined;
}

static char *replace(char *text, const char *from, const char *to)
{
	struct buffer b = { 0 };
	const char *p = text, *next;

	for (; (next = strstr(p, from)); p = next + strlen(from)) {
		buffer_add(&b, p, next - p);
		buffer_adds(&b, to);
	}
	buffer_adds(&b, p);
	free(text);
	return buffer_steal(&b);
}

/* ---- a caption ---- */

char *caption_variant(const struct caption_options *o, const char *caption, const struct caption_visit *v)
{
	struct draws d = draws_of(v);
	char *text = o->wildcard ? wildcards_choose(&(struct chooser){ choose, &d }, caption) :
		     xstrndup(caption, strcspn(caption, "\n")), *varied;

	if (o->shuffle || o->warmup_steps > 0 || o->tag_dropout > 0) {
		varied = vary_tags(o, &d, v, text);
		free(text);
		text = varied;
	}
	return o->second_separator ? replace(text, o->second_separator, caption_separator(o)) : text;
}

char *caption_of_visit(const struct caption_options *o, const char *caption, const struct caption_visit *v)
{
	return caption_left_out(o, v) ? xstrdup("") : caption_variant(o, caption, v);
}
