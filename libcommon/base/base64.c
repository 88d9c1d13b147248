/* Bytes as base64 text, RFC 4648 with padding. */
#include <stdint.h>
#include "base64.h"

void buffer_add_base64(struct buffer *out, const void *bytes, size_t n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *p = bytes;
	size_t i;

	for (i = 0; i < n; i += 3) {
		uint32_t x = p[i] << 16 | (i + 1 < n ? p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
		char four[4] = { digits[x >> 18], digits[x >> 12 & 63], i + 1 < n ? digits[x >> 6 & 63] : '=',
				 i + 2 < n ? digits[x & 63] : '=' };
		buffer_add(out, four, 4);
	}
}
