/* UTF-8: the length of a well-formed character, decoding, encoding, cutting between characters. */
#include "utf8.h"

size_t utf8_length(const unsigned char *p, size_t n)
{
	static const struct { unsigned char first, last, low, high; size_t length; } forms[] = {
		{ 0x00, 0x7f, 0x00, 0x00, 1 }, { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
		{ 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		size_t length = forms[i].length;

		if (*p < forms[i].first || *p > forms[i].last)
			continue;
		if (n < length || (length > 1 && (p[1] < forms[i].low || p[1] > forms[i].high)))
			return 0;
		for (size_t j = 2; j < length; j++) {
			if ((p[j] & 0xc0) != 0x80)
				return 0;
		}
		return length;
	}
	return 0;
}

uint32_t utf8_decode(const unsigned char *p, size_t length)
{
	uint32_t c = length == 1 ? *p : *p & (0x7f >> length);

	for (size_t i = 1; i < length; i++)
		c = c << 6 | (p[i] & 0x3f);
	return c;
}

size_t utf8_read(const char *text, size_t n, uint32_t *code)
{
	const unsigned char *p = (const unsigned char *)text;
	const size_t length = n ? utf8_length(p, n) : 0;

	if (length)
		*code = utf8_decode(p, length);
	return length;
}

size_t utf8_valid(const char *text, size_t n)
{
	uint32_t code;
	size_t at = 0, length;

	while ((length = utf8_read(text + at, n - at, &code)))
		at += length;
	return at;
}

size_t utf8_cut(const char *text, size_t n, size_t most)
{
	if (n <= most)
		return n;
	while (most && (text[most] & 0xc0) == 0x80)
		most--;
	return most;
}

size_t utf8_encode(uint32_t c, char out[4])
{
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	if (n == 1) {
		out[0] = (char)c;
		return 1;
	}
	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)(0xf00 >> n | c);
	return n;
}
