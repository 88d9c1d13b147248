/*
 * toml_reader.h - a position in a TOML text, and the reading of single values: strings, numbers, dates, booleans.
 *
 * Shared by toml.c (tables, keys, arrays), toml_reader.c, toml_string.c and toml_scalar.c only.  Must not know the tree
 * being built.
 */
#ifndef IO_TOML_READER_H
#define IO_TOML_READER_H

#include <string.h>
#include "../base/memory.h"
#include "toml.h"

struct toml_reader {
	const char *name;               /* of the file, for messages */
	const char *at, *end;           /* text not yet read; end is not readable */
	const char *line_start;
	int line;
	struct error *e;
	const char *counted;            /* toml_column()'s last place and answer */
	int column;
};

/* Fail with "NAME:LINE: column C: ..." for a place in the current line. */
int toml_complain(struct toml_reader *r, const char *where, const char *format, ...) PRINTF_LIKE(3, 4);
int toml_column(struct toml_reader *r, const char *where);        /* in characters, from 1 */

static inline bool toml_starts(const struct toml_reader *r, const char *word)
{
	size_t n = strlen(word);

	return (size_t)(r->end - r->at) >= n && !memcmp(r->at, word, n);
}

/* 1 or 2: the length of the line end at p; 0: none there. */
static inline int toml_newline_at(const struct toml_reader *r, const char *p)
{
	if (p < r->end && *p == '\n')
		return 1;
	return p + 1 < r->end && p[0] == '\r' && p[1] == '\n' ? 2 : 0;
}

static inline bool toml_take_newline(struct toml_reader *r)
{
	int n = toml_newline_at(r, r->at);

	if (!n)
		return false;
	r->at += n;
	r->line++;
	r->line_start = r->at;
	return true;
}

/* Control characters that neither a comment nor a string may hold; tab may stand in both. */
static inline bool toml_forbidden(char c)
{
	return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

void toml_skip_blanks(struct toml_reader *r);
int toml_skip_lines(struct toml_reader *r) MUST_CHECK;          /* blanks, line ends and comments, as inside an array */
/* Reads the end of the line behind a pair or a header; after_what: "after a value; begin a new line". */
int toml_end_of_line(struct toml_reader *r, const char *after_what) MUST_CHECK;
int toml_unexpected(struct toml_reader *r, const char *and_so); /* "unexpected 'X' AND_SO" for the character at hand */
int toml_check_utf8(struct toml_reader r) MUST_CHECK;           /* the whole rest of the text */

/* A string of any of the four kinds; the reader stands on its first quote.  A key must end on its own line. */
int toml_take_string(struct toml_reader *r, bool is_key, struct buffer *out) MUST_CHECK;
/* Boolean, number or date: fills in kind and value. */
int toml_take_scalar(struct toml_reader *r, struct toml *out) MUST_CHECK;

#endif
