/* Reading JSON: jansson, with stricter limits. */
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

json_t *json_read(const char *path, size_t cap, struct error *e)
{
	struct buffer text = { 0 };
	json_t *value = NULL;

	if (!read_file(path, cap, &text, e))
		value = json_parse(path, text.data, text.len, e);
	if (!value && text.len && e->code == EXIT_INPUT)
		kind_tell(path, text.data, text.len, "JSON", "JSON", e);
	buffer_free(&text);
	return value;
}
