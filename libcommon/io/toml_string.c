/* Strings of TOML: basic, literal, and both over several lines. */
#include "../base/utf8.h"
#include "toml_reader.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int take_unicode(struct toml_reader *r, int digits, struct buffer *out)
{
	const char *start = r->at - 2;
	char bytes[4];
	uint32_t c = 0;

	for (int i = 0; i < digits; i++) {
		int d = r->at < r->end ? hex_digit(*r->at) : -1;
		if (d < 0)
			return toml_complain(r, start, "\\%c needs %d hexadecimal digits; "
						       "in a path write \\\\ or use '...'", start[1], digits);
		c = c << 4 | (uint32_t)d;
		r->at++;
	}
	if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return toml_complain(r, start, "U+%04X is not a character; write one that exists", (unsigned)c);
	buffer_add(out, bytes, utf8_encode(c, bytes));
	return 0;
}

static int take_escape(struct toml_reader *r, struct buffer *out)
{
	static const char from[] = "btnfre\"\\", to[] = "\b\t\n\f\r\033\"\\";         /* e: from TOML 1.1 */
	const char *start = r->at, *known;
	char c;

	if (r->end - r->at < 2)
		return toml_complain(r, start, "the file ends inside a string; close it");
	c = r->at[1];
	r->at += 2;
	if (c == 'u' || c == 'U')
		return take_unicode(r, c == 'u' ? 4 : 8, out);
	known = c ? strchr(from, c) : NULL;
	if (!known)
		return toml_complain(r, start, "unknown escape '\\%c'; "
					       "write \\\\ for a backslash, or use '...' for paths", c);
	buffer_add(out, &to[known - from], 1);
	return 0;
}

static int take_one_line(struct toml_reader *r, char quote, struct buffer *out)
{
	const char *start = r->at++;

	for (;;) {
		if (r->at == r->end || toml_newline_at(r, r->at))
			return toml_complain(r, start, "this string is not closed; add a %c before the line ends",
					     quote);
		if (*r->at == quote) {
			r->at++;
			return 0;
		}
		if (toml_forbidden(*r->at))
			return toml_complain(r, r->at, "control character 0x%02x in a string; write \\u%04X",
					     (unsigned char)*r->at, (unsigned char)*r->at);
		if (quote == '"' && *r->at == '\\') {
			if (take_escape(r, out))
				return -1;
		} else {
			buffer_add(out, r->at++, 1);
		}
	}
}

/* A backslash that ends a line joins it to the next word: it eats all white space up to there. */
static bool joins_lines(struct toml_reader *r)
{
	const char *p = r->at + 1;

	while (p < r->end && (*p == ' ' || *p == '\t'))
		p++;
	if (!toml_newline_at(r, p))
		return false;
	r->at = p;
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || toml_newline_at(r, r->at)))
		if (!toml_take_newline(r))
			r->at++;
	return true;
}

static int take_lines(struct toml_reader *r, char quote, struct buffer *out)
{
	int first_line = r->line;

	r->at += 3;
	toml_take_newline(r);
	while (r->at < r->end) {
		size_t quotes = 0;
		while (quotes < 5 && r->at + quotes < r->end && r->at[quotes] == quote)
			quotes++;
		if (quotes >= 3)
			/* up to two quotes may stand before the closing three */
			buffer_add(out, r->at, quotes - 3);
		else
			buffer_add(out, r->at, quotes);
		r->at += quotes;
		if (quotes >= 3)
			return 0;
		if (quotes)
			continue;
		if (toml_take_newline(r)) {
			buffer_add(out, "\n", 1);
		} else if (toml_forbidden(*r->at)) {
			return toml_complain(r, r->at, "control character 0x%02x in a string; write \\u%04X",
					     (unsigned char)*r->at, (unsigned char)*r->at);
		} else if (quote == '"' && *r->at == '\\') {
			if (!joins_lines(r) && take_escape(r, out))
				return -1;
		} else {
			buffer_add(out, r->at++, 1);
		}
	}
	return toml_complain(r, r->at, "the string that begins in line %d is not closed; add %c%c%c", first_line,
			     quote, quote, quote);
}

int toml_take_string(struct toml_reader *r, bool is_key, struct buffer *out)
{
	char quote = *r->at;
	bool lines = toml_starts(r, quote == '"' ? "\"\"\"" : "'''");

	buffer_clear(out);
	buffer_add(out, "", 0);
	if (lines && is_key)
		return toml_complain(r, r->at, "a key cannot be a string of several lines; use %c...%c", quote, quote);
	return lines ? take_lines(r, quote, out) : take_one_line(r, quote, out);
}
