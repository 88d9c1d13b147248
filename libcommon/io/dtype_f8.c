/* 8-bit floats to float and back. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "dtype_f8.h"
#include "dtype_half.h"

static float float_of(uint32_t bits)
{
	float x;

	memcpy(&x, &bits, 4);
	return x;
}

static uint32_t bits_of(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, 4);
	return bits;
}

/* The fields moved to a float's places are the value times 2^-120, subnormal ones too. */
void e4m3_to_float(float *dst, const unsigned char *src, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const uint32_t sign = (uint32_t)(src[i] & 0x80) << 24, rest = src[i] & 0x7f;
		const uint32_t size = rest == 0x7f ? 0x7fc00000 : bits_of(float_of(rest << 20) * 0x1p120f);

		dst[i] = float_of(sign | size);
	}
}

void e5m2_to_float(float *dst, const unsigned char *src, size_t n)
{
	enum { CHUNK = 256 };
	unsigned char half[2 * CHUNK] = { 0 };

	for (size_t i = 0; i < n; i += CHUNK) {
		const size_t now = n - i < CHUNK ? n - i : CHUNK;

		for (size_t k = 0; k < now; k++)
			half[2 * k + 1] = src[i + k];
		half_to_float(dst + i, half, now);
	}
}

/* A type of 8 bits: how many of a float's fraction it drops, its exponent's bias, the first number behind its range as
 * a float, what that becomes, and its not-a-number. */
struct f8 { int drop, bias; uint32_t over; unsigned char above, nan; };
static const struct f8 e4m3 = { 20, 7, 0x43f00000 /* 480 */, 0x7f, 0x7f },
		       e5m2 = { 21, 15, 0x47800000 /* 65536 */, 0x7c, 0x7f };

/* size: without its sign */
static unsigned char rounded(uint32_t size, const struct f8 *t)
{
	/* below the smallest normal number the sum's last bit is the type's last: the addition rounds */
	const uint32_t normal = (uint32_t)(128 - t->bias) << 23, magic = normal + ((uint32_t)t->drop << 23);
	const uint32_t odd = size >> t->drop & 1, half = (1u << (t->drop - 1)) - 1;

	if (size > 0x7f800000)
		return t->nan;
	if (size < normal)
		return (unsigned char)(bits_of(float_of(size) + float_of(magic)) - magic);
	size += half + odd;
	if (size >= t->over)
		return t->above;
	return (unsigned char)((size - ((uint32_t)(127 - t->bias) << 23)) >> t->drop);
}

static void from_float_to(unsigned char *dst, const float *src, size_t n, const struct f8 *t)
{
	for (size_t i = 0; i < n; i++) {
		const uint32_t bits = bits_of(src[i]);

		dst[i] = (unsigned char)((bits >> 24 & 0x80) | rounded(bits & 0x7fffffff, t));
	}
}

void e4m3_from_float(unsigned char *dst, const float *src, size_t n)
{
	from_float_to(dst, src, n, &e4m3);
}

void e5m2_from_float(unsigned char *dst, const float *src, size_t n)
{
	from_float_to(dst, src, n, &e5m2);
}
