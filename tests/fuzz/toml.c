/* What is read, written in one plain way and read again is the same tree. */
#include <math.h>
#include "fuzz.h"
#include "../../libcommon/io/toml.h"

static void put_text(struct buffer *b, const char *text, size_t n)
{
	buffer_adds(b, "\"");
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] < 32 || text[i] == 127 || text[i] == '"' || text[i] == '\\')
			buffer_addf(b, "\\u%04x", text[i]);
		else
			buffer_add(b, &text[i], 1);
	buffer_adds(b, "\"");
}

static void put_number(struct buffer *b, double v)
{
	char text[64];

	snprintf(text, sizeof(text), "%.17g", v);
	if (isnan(v))
		strcpy(text, signbit(v) ? "-nan" : "nan");
	buffer_addf(b, "%s%s", text, isfinite(v) && !strpbrk(text, ".e") ? ".0" : "");
}

static void put(struct buffer *b, const struct toml *t)
{
	switch (t->kind) {
	case TOML_STRING: put_text(b, t->text, t->length); return;
	case TOML_INTEGER: buffer_addf(b, "%lld", (long long)t->integer); return;
	case TOML_FLOAT: put_number(b, t->number); return;
	case TOML_BOOLEAN: buffer_adds(b, t->boolean ? "true" : "false"); return;
	case TOML_DATETIME: buffer_adds(b, t->text); return;
	case TOML_ARRAY: case TOML_TABLE: break;
	}
	buffer_adds(b, t->kind == TOML_ARRAY ? "[" : "{");
	for (const struct toml *c = t->child; c; c = c->next) {
		HOLDS((c->key != NULL) == (t->kind == TOML_TABLE) && c->line >= 1 && c->column >= 1);
		if (c->key) {
			put_text(b, c->key, strlen(c->key));
			buffer_adds(b, "=");
		}
		put(b, c);
		if (c->next)
			buffer_adds(b, ",");
	}
	buffer_adds(b, t->kind == TOML_ARRAY ? "]" : "}");
}

static bool same(const struct toml *a, const struct toml *b)
{
	const struct toml *x = a->child, *y = b->child;

	if (a->kind != b->kind || a->integer != b->integer || a->boolean != b->boolean || a->length != b->length)
		return false;
	if (a->kind == TOML_FLOAT && memcmp(&a->number, &b->number, sizeof(a->number)) &&
	    !(isnan(a->number) && isnan(b->number)))
		return false;
	if (a->text && memcmp(a->text, b->text, a->length))
		return false;
	for (; x && y; x = x->next, y = y->next)
		if ((x->key && strcmp(x->key, y->key)) || !same(x, y))
			return false;
	return !x && !y;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct error e = { 0 };
	struct toml *t = toml_parse("input", (const char *)bytes, n, &e), *again;
	struct buffer b = { 0 };

	HOLDS(t || e.code == EXIT_USAGE);
	if (!t)
		return 0;
	buffer_adds(&b, "all = ");
	put(&b, t);
	again = toml_parse("again", b.data, b.len, &e);
	if (!again && strstr(e.text, "deep"))   /* it was at the limit, and is one level deeper now */
		again = NULL;
	else
		HOLDS(again && same(t, again->child));
	toml_free(t);
	toml_free(again);
	buffer_free(&b);
	return 0;
}
