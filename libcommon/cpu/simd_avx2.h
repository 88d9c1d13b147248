/*
 * simd_avx2.h - eight floats at a time, with FMA and F16C.  Like every simd_*.h it defines what body_*.h is written in:
 * LANES, TILE_ROWS (of a product's innermost tile), vec (floats), ivec (32-bit integers), dvec (half as many doubles),
 * octet (eight floats) and the functions below.
 */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

/* Of 16 registers, 12 hold a tile, and two a row of the panel. */
enum { LANES = 8, TILE_ROWS = 6 };
typedef float vec __attribute__((vector_size(32)));
typedef int32_t ivec __attribute__((vector_size(32)));
typedef float unaligned_vec __attribute__((vector_size(32), aligned(4), may_alias));
typedef double dvec __attribute__((vector_size(32)));
typedef vec octet;

static inline vec all(float x) { return _mm256_set1_ps(x); }
static inline vec mul_add(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }         /* a b + c */
static inline vec root(vec x) { return _mm256_sqrt_ps(x); }
static inline vec from_int(ivec x) { return _mm256_cvtepi32_ps((__m256i)x); }
static inline dvec low_doubles(vec x) { return _mm256_cvtps_pd(_mm256_castps256_ps128(x)); }
static inline dvec high_doubles(vec x) { return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)); }
/* Adds the elements i.. of a vector in places i % 8; i is a multiple of LANES. */
static inline void octet_add(octet *s, size_t i, vec v) { *s += v; }
static inline __m128i load_halves(const uint16_t *x) { return _mm_loadu_si128((const __m128i *)x); }
static inline vec widen_f16(const uint16_t *x) { return _mm256_cvtph_ps(load_halves(x)); }
static inline ivec widen_u16(const uint16_t *x) { return (ivec)_mm256_cvtepu16_epi32(load_halves(x)); }
static inline __m128i load_bytes(const uint8_t *x) { return _mm_loadl_epi64((const __m128i *)x); }
static inline ivec widen_i8(const uint8_t *x) { return (ivec)_mm256_cvtepi8_epi32(load_bytes(x)); }
static inline ivec widen_u8(const uint8_t *x) { return (ivec)_mm256_cvtepu8_epi32(load_bytes(x)); }

/* Two numbers a byte, the first in its upper half: each byte is put into two places, and shifted down in the first. */
static inline ivec nibbles(const uint8_t *x)
{
	int32_t four;
	__m256i bytes, twice;

	memcpy(&four, x, sizeof(four));
	bytes = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(four));
	twice = _mm256_or_si256(bytes, _mm256_slli_epi64(bytes, 32));
	return (ivec)_mm256_srlv_epi32(twice, _mm256_set1_epi64x(4)) & 15;
}

/* Elements of a table of sixteen; the instruction reads the lower three bits of a place. */
static inline vec pick(const float *table, ivec at)
{
	const vec low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), (__m256i)at);
	const vec high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), (__m256i)at);

	return _mm256_blendv_ps(low, high, (vec)(at > 7));
}

static inline vec choose(ivec mask, vec yes, vec no) { return _mm256_blendv_ps(no, yes, (vec)mask); }
/* These keep a NaN in x: the machine returns its second operand when the two do not compare. */
static inline vec at_least(vec x, float low) { return _mm256_max_ps(all(low), x); }
static inline vec at_most(vec x, float high) { return _mm256_min_ps(all(high), x); }
static inline vec greater(vec a, vec b) { return _mm256_max_ps(a, b); }                 /* b where a or b is NaN */

static inline __attribute__((always_inline)) void transpose(vec *v)
{
	vec t[8];
	int i;

#pragma GCC unroll 4
	for (i = 0; i < 8; i += 2) {
		t[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
		t[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
	}
#pragma GCC unroll 2
	for (i = 0; i < 8; i += 4) {
		v[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
		v[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
		v[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
		v[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
	}
#pragma GCC unroll 4
	for (i = 0; i < 4; i++) {
		t[i] = _mm256_permute2f128_ps(v[i], v[i + 4], 0x20);
		t[i + 4] = _mm256_permute2f128_ps(v[i], v[i + 4], 0x31);
	}
#pragma GCC unroll 8
	for (i = 0; i < 8; i++)
		v[i] = t[i];
}
