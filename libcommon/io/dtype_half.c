/* IEEE half precision to float and back: portable code, and F16C where the processor has it. */
#include <stdint.h>
#include <string.h>
#include "../base/cpu.h"
#include "dtype_half.h"

static uint32_t widen(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 0x3ff;

	if (exponent == 31)
		return sign | 0x7f800000 | (fraction ? 0x400000 | fraction << 13 : 0);
	if (exponent)
		return sign | (exponent + 112) << 23 | fraction << 13;
	if (!fraction)
		return sign;
	/* Below the normal range: fraction * 2^-24, and float has room to write it normally. */
	exponent = 31 - (uint32_t)__builtin_clz(fraction);
	return sign | (exponent + 103) << 23 | (fraction << (23 - exponent) & 0x7fffff);
}

/* value >> shift, to nearest, ties to even; 0 < shift < 32. */
static uint32_t shift_rounded(uint32_t value, int shift)
{
	uint32_t kept = value >> shift, rest = value & ((1u << shift) - 1), tie = 1u << (shift - 1);

	return kept + (rest > tie || (rest == tie && (kept & 1)));
}

static uint16_t narrow(uint32_t bits)
{
	uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;

	if (size > 0x7f800000)
		return sign | 0x7e00 | (size >> 13 & 0x3ff);
	if (size >= 0x47800000)         /* 65536 and more */
		return sign | 0x7c00;
	if (size >= 0x38800000)         /* normal: a carry out of the fraction raises the exponent, up to infinity */
		return sign | (shift_rounded(size, 13) - (112 << 10));
	if (size <= 0x33000000)         /* 2^-25 is the tie, and its even side is zero */
		return sign;
	return sign | shift_rounded((size & 0x7fffff) | 0x800000, 126 - (int)(size >> 23));
}

void half_to_float_portable(float *dst, const unsigned char *src, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t half;
		uint32_t bits;

		memcpy(&half, src + 2 * i, 2);
		bits = widen(half);
		memcpy(dst + i, &bits, 4);
	}
}

void half_from_float_portable(unsigned char *dst, const float *src, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t half;
		uint32_t bits;

		memcpy(&bits, src + i, 4);
		half = narrow(bits);
		memcpy(dst + 2 * i, &half, 2);
	}
}

#ifdef __x86_64__
#include <immintrin.h>

#define F16C __attribute__((target("avx,f16c")))

/* Both return how many were done: what is left over is less than a register's eight. */
F16C static size_t to_float_f16c(float *dst, const unsigned char *src, size_t n)
{
	size_t i;

	for (i = 0; i + 8 <= n; i += 8)
		_mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(src + 2 * i))));
	return i;
}

F16C static size_t from_float_f16c(unsigned char *dst, const float *src, size_t n)
{
	size_t i;

	for (i = 0; i + 8 <= n; i += 8) {
		__m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT);
		_mm_storeu_si128((void *)(dst + 2 * i), halves);
	}
	return i;
}
#else
static size_t to_float_f16c(float *dst, const unsigned char *src, size_t n) { return 0; }
static size_t from_float_f16c(unsigned char *dst, const float *src, size_t n) { return 0; }
#endif

void half_to_float(float *dst, const unsigned char *src, size_t n)
{
	size_t done = n >= 8 && cpu_has_f16c() ? to_float_f16c(dst, src, n) : 0;

	half_to_float_portable(dst + done, src + 2 * done, n - done);
}

void half_from_float(unsigned char *dst, const float *src, size_t n)
{
	size_t done = n >= 8 && cpu_has_f16c() ? from_float_f16c(dst, src, n) : 0;

	half_from_float_portable(dst + 2 * done, src + done, n - done);
}
