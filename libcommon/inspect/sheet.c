/* The facts of a file as JSON and as lines for people; keys, norms, metadata. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/print.h"
#include "internal.h"
#include "../adapter/metadata.h"

#define LABEL 11                /* columns of a label, after two blanks and before one */
#define COLUMNS 80

/* The length of the text that fits on one line: up to the last blank within `room`; a longer word is not broken. */
static size_t line_length(const char *text, size_t room)
{
	size_t n = strlen(text), last = 0;

	if (n <= room)
		return n;
	for (size_t i = 0; i < n && (i <= room || !last); i++)
		if (text[i] == ' ')
			last = i;
	return last ? last : n;
}

static void add_line(struct sheet *s, const char *label, const char *value)
{
	do {
		size_t n = line_length(value, COLUMNS - LABEL - 3);

		buffer_addf(&s->text, "  %-*s ", LABEL, label);
		buffer_add_printable(&s->text, value, n);
		buffer_adds(&s->text, "\n");
		value += n + (value[n] == ' ');
		label = "";
	} while (*value);
}

void sheet_line(struct sheet *s, const char *label, const char *format, ...)
{
	char value[1000];
	va_list args;

	va_start(args, format);
	vsnprintf(value, sizeof(value), format, args);
	va_end(args);
	if (!s->options->json)
		add_line(s, label, value);
}

void sheet_row(struct sheet *s, const char *format, ...)
{
	char *row = NULL;
	va_list args;
	int n;

	if (s->options->json)
		return;
	va_start(args, format);
	n = vasprintf(&row, format, args);
	va_end(args);
	if (n < 0)
		die(EXIT_MEMORY, "no memory for a line of text");
	buffer_add_printable(&s->text, row, n);
	buffer_adds(&s->text, "\n");
	free(row);
}

/* "kind" is the heading: FILE: KIND. */
void sheet_text(struct sheet *s, const char *key, const char *label, const char *value)
{
	if (s->options->json)
		json_text(&s->json, key, value);
	else if (label && value && strcmp(key, "kind") == 0)
		sheet_row(s, "%s: %s", strcmp(s->path, "-") ? s->path : "standard input", label);
	else if (label && value)
		add_line(s, label, value);
}

void sheet_int(struct sheet *s, const char *key, const char *label, int64_t value)
{
	char *text = thousands(value);

	if (s->options->json)
		json_int(&s->json, key, value);
	else if (label)
		add_line(s, label, text);
	free(text);
}

char *thousands(uint64_t n)
{
	char digits[24];
	struct buffer b = { 0 };
	size_t length = text_add(digits, sizeof(digits), 0, "%llu", (unsigned long long)n);

	for (size_t i = 0; i < length; i++) {
		if (i && (length - i) % 3 == 0)
			buffer_adds(&b, ",");
		buffer_add(&b, &digits[i], 1);
	}
	return buffer_steal(&b);
}

void sheet_keys(struct sheet *s, const struct safetensors *f)
{
	char shape[SHAPE_ROOM + 2], numbers[SHAPE_ROOM];

	json_begin_array(&s->json, "keys");
	for (size_t i = 0; i < f->count; i++) {
		snprintf(shape, sizeof(shape), "[%s]", shape_text(numbers, f->tensor[i].dims, f->tensor[i].shape, ","));
		sheet_row(s, "  %-5s %-20s %s", dtype_name(f->tensor[i].dtype), shape, f->tensor[i].name);
		json_begin(&s->json, NULL);
		json_text(&s->json, "name", f->tensor[i].name);
		json_text(&s->json, "dtype", dtype_name(f->tensor[i].dtype));
		json_raw(&s->json, "shape", shape);
		json_end(&s->json);
	}
	json_end_array(&s->json);
}

void sheet_metadata(struct sheet *s, const struct safetensors *f)
{
	json_begin(&s->json, "metadata");
	for (size_t i = 0; i < f->metadata_count; i++) {
		sheet_row(s, "  %s = %s", f->metadata[i].key, f->metadata[i].value);
		json_text(&s->json, f->metadata[i].key, f->metadata[i].value);
	}
	json_end(&s->json);
}

const char *dtypes_of(const struct safetensors *f)
{
	int found = -1;

	for (size_t i = 0; i < f->count; i++) {
		const struct safetensor *t = &f->tensor[i];

		if (t->dims == 0 || t->dtype == DTYPE_I64)      /* an alpha or ids: not the type of the weights */
			continue;
		if (found >= 0 && found != (int)t->dtype)
			return "mixed";
		found = t->dtype;
	}
	return found < 0 ? "none" : dtype_name(found);
}

/* ---- values ---- */

#define CHUNK 65536

uint64_t count_nonfinite(const struct safetensors *f, const struct safetensor *t)
{
	const unsigned char *bytes = safetensors_bytes(f, t);
	size_t n = safetensor_elements(t), size = dtype_size(t->dtype);
	float *x;
	uint64_t bad = 0;

	if (!dtype_is_float(t->dtype))
		return 0;
	x = xmalloc(CHUNK * sizeof(*x));
	for (size_t i = 0; i < n; i += CHUNK) {
		size_t part = n - i < CHUNK ? n - i : CHUNK;

		to_float(x, bytes + i * size, t->dtype, part);
		for (size_t j = 0; j < part; j++)
			bad += !isfinite(x[j]);
	}
	free(x);
	return bad;
}

int verify_values(struct sheet *s, const struct safetensors *f, struct error *e)
{
	const char *first = NULL;
	uint64_t bad = 0;

	for (size_t i = 0; i < f->count; i++) {
		uint64_t here = count_nonfinite(f, &f->tensor[i]);

		if (here && !first)
			first = f->tensor[i].name;
		bad += here;
	}
	sheet_int(s, "nonfinite", bad ? "not finite" : NULL, bad);
	return bad ? fail(e, EXIT_INPUT,
			  "%s: %llu values are NaN or infinite, the first in '%.200s'; use an earlier save", f->path,
			  (unsigned long long)bad, first)
		   : 0;
}

int verify_modelspec(struct sheet *s, const struct safetensors *f, struct error *e)
{
	const char *says = safetensors_metadata(f, "modelspec.hash_sha256");
	char hex[65];

	if (!says)
		return 0;
	payload_hash(f, hex);
	if (strncmp(says, "0x", 2) || strcasecmp(says + 2, hex))
		return fail(e, EXIT_INPUT,
			"%s: its content does not match modelspec.hash_sha256 in its metadata: damaged, "
			"or changed by a program that left the old hash; fetch it again",
			f->path);
	sheet_line(s, "checked", "modelspec.hash_sha256 matches the content");
	return 0;
}
