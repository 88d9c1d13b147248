/* Writing JSON. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/printable.h"
#include "../base/retry.h"
#include "../base/slow_reader.h"
#include "../base/utf8.h"
#include "json.h"

/* ---- text ---- */

/* A line of JSON may reach a terminal: what would command it is written as \uXXXX, which reads back as the same. */
static void add_control(struct buffer *b, uint32_t c)
{
	static const char letters[32] = { ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r' };

	if (c < 32 && letters[c])
		buffer_addf(b, "\\%c", letters[c]);
	else
		buffer_addf(b, "\\u%04x", (unsigned)c);
}

static void add_quoted(struct buffer *b, const char *text, size_t n)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + n;

	buffer_adds(b, "\"");
	while (p < end) {
		const unsigned char *plain = p;
		size_t length = 1;

		while (p < end && (length = utf8_length(p, (size_t)(end - p))) && *p != '"' && *p != '\\' &&
		       !commands_terminal(utf8_decode(p, length)))
			p += length;
		buffer_add(b, plain, (size_t)(p - plain));
		if (p == end)
			break;
		if (*p == '"' || *p == '\\')
			buffer_addf(b, "\\%c", *p);
		else if (length)
			add_control(b, utf8_decode(p, length));
		else
			buffer_adds(b, "\xef\xbf\xbd");
		p += length ? length : 1;
	}
	buffer_adds(b, "\"");
}

/* ---- structure ---- */

static void start(struct json_out *j, const char *key)
{
	if (j->comma)
		buffer_adds(&j->text, ",");
	j->comma = true;
	if (key) {
		add_quoted(&j->text, key, strlen(key));
		buffer_adds(&j->text, ":");
	}
}

static void open_bracket(struct json_out *j, const char *key, const char *bracket)
{
	start(j, key);
	buffer_adds(&j->text, bracket);
	j->comma = false;
}

static void close_bracket(struct json_out *j, const char *bracket)
{
	buffer_adds(&j->text, bracket);
	j->comma = true;
}

void json_begin(struct json_out *j, const char *key) { open_bracket(j, key, "{"); }
void json_end(struct json_out *j) { close_bracket(j, "}"); }
void json_begin_array(struct json_out *j, const char *key) { open_bracket(j, key, "["); }
void json_end_array(struct json_out *j) { close_bracket(j, "]"); }

/* ---- values ---- */

void json_raw(struct json_out *j, const char *key, const char *json)
{
	start(j, key);
	buffer_adds(&j->text, json);
}

void json_text_n(struct json_out *j, const char *key, const char *value, size_t n)
{
	start(j, key);
	add_quoted(&j->text, value, n);
}

void json_text(struct json_out *j, const char *key, const char *value)
{
	if (value)
		json_text_n(j, key, value, strlen(value));
	else
		json_none(j, key);
}

void json_int(struct json_out *j, const char *key, int64_t value)
{
	start(j, key);
	buffer_addf(&j->text, "%lld", (long long)value);
}

void json_big(struct json_out *j, const char *key, uint64_t value)
{
	start(j, key);
	buffer_addf(&j->text, "\"%llu\"", (unsigned long long)value);
}

/* Whole numbers up to 2^53 in full: "2e+01" would be as short as "20", but nobody wants to read it. */
static void add_number(struct json_out *j, const char *key, double value, bool as_float)
{
	char text[40];

	if (!isfinite(value)) {
		json_none(j, key);
		return;
	}
	if (value == floor(value) && fabs(value) <= 0x1p53) {
		snprintf(text, sizeof(text), "%.0f", value);
	} else {
		for (int digits = 1; digits <= 17; digits++) {
			snprintf(text, sizeof(text), "%.*g", digits, value);
			if (as_float ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)
				break;
		}
	}
	json_raw(j, key, text);
}

void json_number(struct json_out *j, const char *key, double value) { add_number(j, key, value, false); }
void json_float(struct json_out *j, const char *key, float value) { add_number(j, key, value, true); }
void json_bool(struct json_out *j, const char *key, bool value) { json_raw(j, key, value ? "true" : "false"); }
void json_none(struct json_out *j, const char *key) { json_raw(j, key, "null"); }

/* ---- lines ---- */

static int line_done(struct json_out *j, int failed, struct error *e)
{
	buffer_clear(&j->text);
	j->comma = false;
	if (failed && errno == ECANCELED)
		return fail(e, EXIT_IO, "writing a line of JSON: its reader takes nothing");
	return failed ? fail(e, EXIT_IO, "writing a line of JSON: %s; is its reader gone, or the disk full?",
			     strerror(errno)) : 0;
}

int json_line(struct json_out *j, int fd, struct error *e)
{
	buffer_adds(&j->text, "\n");
	return line_done(j, fd >= 0 && write_all(fd, j->text.data, j->text.len) < 0, e);
}

int json_line_until(struct json_out *j, int fd, bool (*give_up)(void), struct error *e)
{
	buffer_adds(&j->text, "\n");
	return line_done(j, fd >= 0 && write_until(fd, j->text.data, j->text.len, give_up) < 0, e);
}

void json_free(struct json_out *j)
{
	buffer_free(&j->text);
	j->comma = false;
}
