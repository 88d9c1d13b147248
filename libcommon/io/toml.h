/*
 * toml.h - TOML 1.0 (toml.io/en/v1.0.0), read into a tree that remembers where everything stood.
 *
 * Owns syntax and positions.  Must not know keys.
 */
#ifndef IO_TOML_H
#define IO_TOML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../base/error.h"
#include "../base/memory.h"

enum toml_kind { TOML_STRING, TOML_INTEGER, TOML_FLOAT, TOML_BOOLEAN, TOML_DATETIME, TOML_ARRAY, TOML_TABLE };

struct toml {
	enum toml_kind kind;
	char *key;                      /* NULL for array elements and the root */
	int line, column;               /* of the key, or of the value inside an array; from 1 */
	char *text;                     /* STRING (UTF-8, may hold NUL: see length); DATETIME as written */
	size_t length;
	int64_t integer;
	double number;                  /* FLOAT, and INTEGER as a double */
	bool boolean;
	struct toml *child, *next;      /* ARRAY and TABLE: children in order of appearance; siblings */
	bool inline_value;              /* an inline table or array, not a [header] */
};

#define TOML_CAP (16u << 20)            /* bytes of a file */

/* name is the file name in messages: "FILE:LINE: what is wrong; ...".  NULL: *e (EXIT_USAGE). */
struct toml *toml_parse(const char *name, const char *text, size_t n, struct error *e) MUST_CHECK;
struct toml *toml_read(const char *path, struct error *e) MUST_CHECK;
/* The first half of toml_read(), for a caller that examines the text first: the file's bytes, with every line ended as
 * TOML requires. */
int toml_file_text(const char *path, struct buffer *text, struct error *e) MUST_CHECK;
void toml_free(struct toml *t);                                 /* accepts NULL */
const struct toml *toml_get(const struct toml *table, const char *key);         /* NULL: not there */

#endif
