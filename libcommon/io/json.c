/* Reading JSON: jansson, with stricter limits. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "json.h"
#include "kind.h"
#include "publish.h"

enum {
	DEEPEST = 64,
	/* Upper bounds of jansson's memory, in bytes: for a value with its key; for a list or an object, beside its
	 * values; for a byte of text. */
	OF_VALUE = 120, OF_LIST = 320, OF_BYTE = 4,
	ROOM = 128 << 20,
};

/* Refuses text that would cost jansson too much: it nests 2048 deep, which a small stack cannot hold, and may turn two
 * bytes of text into 80 of memory.  Brackets within strings do not count. */
static int check_size(const char *label, const char *text, size_t n, struct error *e)
{
	bool quoted = false;
	int depth = 0, line = 1;
	size_t room = OF_BYTE * n;

	for (size_t i = 0; i < n; i++) {
		char c = text[i];

		if (c == '\n')
			line++;
		if (quoted) {
			if (c == '\\')
				i++;
			quoted = c != '"';
		} else if (c == '"') {
			quoted = true;
		} else if (c == '[' || c == '{') {
			if (++depth > DEEPEST)
				return fail(e, EXIT_INPUT, "%s:%d: nested more than %d deep; no file of ours is", label,
					    line, DEEPEST);
			room += OF_LIST;
		} else if (c == ']' || c == '}') {
			depth--;
		} else if (c == ',') {
			room += OF_VALUE;
		}
	}
	if (room > ROOM)
		return fail(e, EXIT_INPUT, "%s: %zu bytes of JSON that take %zu MiB; the limit is %d; "
					   "no file of ours is that large", label, n, room >> 20, ROOM >> 20);
	return 0;
}

json_t *json_parse(const char *label, const char *text, size_t n, struct error *e)
{
	json_error_t why;
	json_t *value;

	if (check_size(label, text, n, e))
		return NULL;
	value = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
	if (!value && json_error_code(&why) == json_error_out_of_memory)
		fail(e, EXIT_MEMORY, "%s: no memory for %zu bytes of JSON; free some", label, n);
	else if (!value)
		fail(e, EXIT_INPUT, "%s:%d: not valid JSON: %s; correct it or fetch the file again", label, why.line,
		     why.text);
	return value;
}

char *json_print(const json_t *value, size_t flags)
{
	char *text = value ? json_dumps(value, flags) : NULL;

	if (value && !text)
		die(EXIT_MEMORY, "no memory for JSON; free some");
	return text;
}

/* The length of a whole number that does not fit, with its sign; 0: something else begins here. */
static size_t wide_number(const char *text)
{
	const size_t sign = *text == '-', digits = strspn(text + sign, "0123456789"), n = sign + digits;

	if (!digits || text[sign] == '0' || strchr(".eE", text[n] ? text[n] : ' '))
		return 0;
	errno = 0;
	strtoll(text, NULL, 10);
	return errno == ERANGE ? n : 0;
}

/* Puts quotes around numbers that do not fit.  text ends with a NUL. */
static void quote_wide_numbers(const struct buffer *text, struct buffer *out)
{
	bool quoted = false;
	size_t n;

	buffer_adds(out, "");
	for (const char *at = text->data, *end = at + text->len; at < end; at += n) {
		const bool in_number = at > text->data && (isalnum((unsigned char)at[-1]) || strchr(".+-", at[-1]));
		const size_t wide = quoted || in_number ? 0 : wide_number(at);

		n = wide ? wide : quoted && *at == '\\' && end - at > 1 ? 2 : 1;
		quoted ^= *at == '"';
		buffer_adds(out, wide ? "\"" : "");
		buffer_add(out, at, n);
		buffer_adds(out, wide ? "\"" : "");
	}
}

static json_t *read_json(const char *path, size_t cap, bool wide, struct error *e)
{
	struct buffer text = { 0 }, quoted = { 0 };
	json_t *value = NULL;
	const int status = read_file(path, cap, &text, e);

	if (!status && wide)
		quote_wide_numbers(&text, &quoted);
	if (!status)
		value = json_parse(path, wide ? quoted.data : text.data, wide ? quoted.len : text.len, e);
	if (!value && text.len && e->code == EXIT_INPUT)
		kind_tell(path, text.data, text.len, "JSON", "JSON", e);
	buffer_free(&text);
	buffer_free(&quoted);
	return value;
}

json_t *json_read(const char *path, size_t cap, struct error *e)
{
	return read_json(path, cap, false, e);
}

json_t *json_read_wide(const char *path, size_t cap, struct error *e)
{
	return read_json(path, cap, true, e);
}
