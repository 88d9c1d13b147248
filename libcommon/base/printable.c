/* Escapes the characters that a terminal would obey. */
#include <string.h>
#include "printable.h"
#include "text.h"
#include "utf8.h"

bool commands_terminal(uint32_t c)
{
	static const struct { uint32_t first, last; } ranges[] = {
		{ 0x00, 0x1f }, { 0x7f, 0x9f },
		{ 0x061c, 0x061c }, { 0x200e, 0x200f }, { 0x202a, 0x202e }, { 0x2066, 0x2069 },        /* direction */
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return false;
}

static size_t show(const char *form, unsigned c, char out[PRINTABLE_LONGEST])
{
	char text[PRINTABLE_LONGEST + 1];
	const size_t n = text_add(text, sizeof(text), 0, form, c);

	memcpy(out, text, n);
	return n;
}

size_t printable_next(const char **at, const char *end, char out[PRINTABLE_LONGEST])
{
	const unsigned char *p = (const unsigned char *)*at;
	const size_t length = utf8_length(p, (size_t)(end - *at));
	const uint32_t c = length ? utf8_decode(p, length) : *p;

	*at += length ? length : 1;
	if (!length || (c < 0x80 && commands_terminal(c)))
		return show("\\x%02x", c, out);
	if (commands_terminal(c))
		return show("\\u%04x", c, out);
	memcpy(out, p, length);
	return length;
}
