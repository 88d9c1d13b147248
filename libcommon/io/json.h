/*
 * json.h - writing JSON, one object a line, and reading it through jansson (strict: duplicate keys, too much depth and
 * NUL are refused).
 */
#ifndef IO_JSON_H
#define IO_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "../base/error.h"
#include "../base/memory.h"

/* A writer builds one compact value in a buffer.  json_string and json_null are jansson's, so these are json_text and
 * json_none.  Keys are written in the order given.  Not-a-number and infinity
 * become null.  Inside an array pass NULL as key.  Text is UTF-8; bytes that are not become U+FFFD. */
struct json_out {
	struct buffer text;
	bool comma;
};
void json_begin(struct json_out *j, const char *key);           /* { */
void json_end(struct json_out *j);                              /* } */
void json_begin_array(struct json_out *j, const char *key);
void json_end_array(struct json_out *j);
void json_text(struct json_out *j, const char *key, const char *value);       /* NULL writes null */
void json_text_n(struct json_out *j, const char *key, const char *value, size_t n);
void json_int(struct json_out *j, const char *key, int64_t value);
/* as a string: jq 1.6 loses digits above 2^53 */
void json_big(struct json_out *j, const char *key, uint64_t value);
/* shortest text that reads back as this double */
void json_number(struct json_out *j, const char *key, double value);
/* shortest text that reads back as this float */
void json_float(struct json_out *j, const char *key, float value);
void json_bool(struct json_out *j, const char *key, bool value);
void json_none(struct json_out *j, const char *key);
void json_raw(struct json_out *j, const char *key, const char *json);   /* text that is JSON already */

/* Writes the value and a newline with one write(2), then empties the writer.  fd -1: only empties it.  EPIPE is EXIT_IO
 * like any other failure. */
int json_line(struct json_out *j, int fd, struct error *e) MUST_CHECK;
/* The same to a reader that may take nothing until give_up() says so (base/slow_reader.h); pieces of PIPE_BUF bytes. */
int json_line_until(struct json_out *j, int fd, bool (*give_up)(void), struct error *e) MUST_CHECK;
void json_free(struct json_out *j);

/* label is the file name in messages.  NULL: *e has the line and what is wrong (EXIT_INPUT).  Release the result with
 * json_decref(). */
json_t *json_parse(const char *label, const char *text, size_t n, struct error *e) MUST_CHECK;
/* A value as malloced text; NULL for NULL and only then.  jansson's own function returns NULL for "no memory" too. */
char *json_print(const json_t *value, size_t flags);
json_t *json_read(const char *path, size_t cap, struct error *e) MUST_CHECK;
/* The same, but a whole number that jansson cannot hold, outside -2^63 to 2^63-1, becomes a text: a seed may be one. */
json_t *json_read_wide(const char *path, size_t cap, struct error *e) MUST_CHECK;

#endif
