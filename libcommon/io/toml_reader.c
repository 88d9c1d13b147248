/* The position in a TOML text: places in messages, white space, comments, UTF-8. */
#include <stdarg.h>
#include <stdio.h>
#include "../base/utf8.h"
#include "toml_reader.h"

/* Goes on from where the last question stood: a line of a million elements asks a million times. */
int toml_column(struct toml_reader *r, const char *where)
{
	if (r->counted < r->line_start || r->counted > where) {
		r->counted = r->line_start;
		r->column = 1;
	}
	for (; r->counted < where; r->counted++)
		r->column += (*r->counted & 0xc0) != 0x80;
	return r->column;
}

int toml_complain(struct toml_reader *r, const char *where, const char *format, ...)
{
	char text[600];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return fail(r->e, EXIT_USAGE, "%s:%d: column %d: %s", r->name, r->line, toml_column(r, where), text);
}

int toml_unexpected(struct toml_reader *r, const char *and_so)
{
	int n = (int)utf8_length((const unsigned char *)r->at, (size_t)(r->end - r->at));

	return toml_complain(r, r->at, "unexpected '%.*s' %s", n, r->at, and_so);
}

void toml_skip_blanks(struct toml_reader *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\t'))
		r->at++;
}

static int skip_comment(struct toml_reader *r)
{
	if (r->at == r->end || *r->at != '#')
		return 0;
	for (; r->at < r->end && !toml_newline_at(r, r->at); r->at++)
		if (toml_forbidden(*r->at))
			return toml_complain(r, r->at, "control character 0x%02x in a comment; remove it",
					     (unsigned char)*r->at);
	return 0;
}

int toml_skip_lines(struct toml_reader *r)
{
	do {
		toml_skip_blanks(r);
		if (skip_comment(r))
			return -1;
	} while (toml_take_newline(r));
	return 0;
}

int toml_end_of_line(struct toml_reader *r, const char *after_what)
{
	toml_skip_blanks(r);
	if (skip_comment(r))
		return -1;
	if (r->at == r->end || toml_take_newline(r))
		return 0;
	return toml_unexpected(r, after_what);
}

int toml_check_utf8(struct toml_reader r)
{
	while (r.at < r.end) {
		size_t n = utf8_length((const unsigned char *)r.at, (size_t)(r.end - r.at));
		if (!n)
			return toml_complain(&r, r.at, "byte 0x%02x is not UTF-8; save the file as UTF-8",
					     (unsigned char)*r.at);
		if (!toml_take_newline(&r))
			r.at += n;
	}
	return 0;
}
