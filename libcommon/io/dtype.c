/* Names and sizes of element types, and their conversion to float and back. */
#include <string.h>
#include "../base/error.h"
#include "dtype.h"
#include "dtype_f8.h"
#include "dtype_half.h"

static const struct { const char *name; size_t size; } types[DTYPE_COUNT] = {
	[DTYPE_F64] = { "F64", 8 }, [DTYPE_I64] = { "I64", 8 }, [DTYPE_U64] = { "U64", 8 },
	[DTYPE_F32] = { "F32", 4 }, [DTYPE_I32] = { "I32", 4 }, [DTYPE_U32] = { "U32", 4 },
	[DTYPE_F16] = { "F16", 2 }, [DTYPE_BF16] = { "BF16", 2 }, [DTYPE_I16] = { "I16", 2 },
	[DTYPE_U16] = { "U16", 2 },
	[DTYPE_F8_E4M3] = { "F8_E4M3", 1 }, [DTYPE_F8_E5M2] = { "F8_E5M2", 1 },
	[DTYPE_I8] = { "I8", 1 }, [DTYPE_U8] = { "U8", 1 }, [DTYPE_BOOL] = { "BOOL", 1 },
};

const char *dtype_name(enum dtype t)
{
	return types[t].name;
}

int dtype_from_name(const char *name, size_t length)
{
	for (int i = 0; i < DTYPE_COUNT; i++) {
		if (strlen(types[i].name) == length && !memcmp(types[i].name, name, length))
			return i;
	}
	return -1;
}

size_t dtype_size(enum dtype t)
{
	return types[t].size;
}

enum dtype dtype_from_precision(const char *word)
{
	return !strcmp(word, "fp16") ? DTYPE_F16 : !strcmp(word, "bf16") ? DTYPE_BF16 : DTYPE_F32;
}

bool dtype_is_float(enum dtype t)
{
	return t == DTYPE_F64 || t == DTYPE_F32 || t == DTYPE_F16 || t == DTYPE_BF16 || t == DTYPE_F8_E4M3 ||
	       t == DTYPE_F8_E5M2;
}

static void from_bf16(float *dst, const unsigned char *src, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t half;
		uint32_t bits;

		memcpy(&half, src + 2 * i, 2);
		bits = (uint32_t)half << 16;
		memcpy(dst + i, &bits, 4);
	}
}

static void to_bf16(unsigned char *dst, const float *src, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t bits, rounded;
		uint16_t half;

		memcpy(&bits, src + i, 4);
		rounded = bits + 0x7fff + (bits >> 16 & 1);
		/* A not-a-number must not be rounded up into the sign bit or down to infinity. */
		half = ((bits & 0x7fffffff) > 0x7f800000 ? bits | 0x400000 : rounded) >> 16;
		memcpy(dst + 2 * i, &half, 2);
	}
}

#define FROM_NUMBERS(name, type) \
	static void name(float *dst, const unsigned char *src, size_t n) \
	{ \
		for (size_t i = 0; i < n; i++) { \
			type value; \
			memcpy(&value, src + i * sizeof(value), sizeof(value)); \
			dst[i] = (float)value; \
		} \
	}
FROM_NUMBERS(from_f64, double)
FROM_NUMBERS(from_i64, int64_t)
FROM_NUMBERS(from_i32, int32_t)
FROM_NUMBERS(from_u8, uint8_t)

int to_float(float *dst, const void *src, enum dtype from, size_t n)
{
	switch (from) {
	case DTYPE_F64: from_f64(dst, src, n); return 0;
	case DTYPE_I64: from_i64(dst, src, n); return 0;
	case DTYPE_I32: from_i32(dst, src, n); return 0;
	case DTYPE_U8: from_u8(dst, src, n); return 0;
	case DTYPE_F16: half_to_float(dst, src, n); return 0;
	case DTYPE_BF16: from_bf16(dst, src, n); return 0;
	case DTYPE_F8_E4M3: e4m3_to_float(dst, src, n); return 0;
	case DTYPE_F8_E5M2: e5m2_to_float(dst, src, n); return 0;
	case DTYPE_F32:
		if (n)
			memcpy(dst, src, n * sizeof(*dst));
		return 0;
	default:
		return -1;
	}
}

int from_float(void *dst, enum dtype to, const float *src, size_t n)
{
	switch (to) {
	case DTYPE_F16: half_from_float(dst, src, n); return 0;
	case DTYPE_BF16: to_bf16(dst, src, n); return 0;
	case DTYPE_F8_E4M3: e4m3_from_float(dst, src, n); return 0;
	case DTYPE_F8_E5M2: e5m2_from_float(dst, src, n); return 0;
	case DTYPE_F32:
		if (n)
			memcpy(dst, src, n * sizeof(*src));
		return 0;
	default:
		return -1;
	}
}

void round_floats(float *x, enum dtype to, size_t n)
{
	unsigned char bytes[4096];
	const size_t most = sizeof(bytes) / dtype_size(to);

	for (size_t i = 0; i < n; i += most) {
		const size_t count = n - i < most ? n - i : most;

		if (from_float(bytes, to, x + i, count) || to_float(x + i, bytes, to, count))
			die(EXIT_OTHER, "bug: rounding to %s", dtype_name(to));
	}
}
