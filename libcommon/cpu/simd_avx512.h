/*
 * simd_avx512.h - sixteen floats at a time, with masks for what is left at an end.  See simd_avx2.h.
 */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

/* Of 32 registers, 28 hold a tile, and two a row of the panel. */
enum { LANES = 16, TILE_ROWS = 14 };
typedef float vec __attribute__((vector_size(64)));
typedef int32_t ivec __attribute__((vector_size(64)));
typedef float unaligned_vec __attribute__((vector_size(64), aligned(4), may_alias));
typedef double dvec __attribute__((vector_size(64)));
typedef float octet __attribute__((vector_size(32)));

static inline vec all(float x) { return _mm512_set1_ps(x); }
static inline vec mul_add(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline vec root(vec x) { return _mm512_sqrt_ps(x); }
static inline vec from_int(ivec x) { return _mm512_cvtepi32_ps((__m512i)x); }
static inline octet low_half(vec x) { return _mm512_castps512_ps256(x); }
static inline octet high_half(vec x) { return _mm512_extractf32x8_ps(x, 1); }
static inline dvec low_doubles(vec x) { return _mm512_cvtps_pd(low_half(x)); }
static inline dvec high_doubles(vec x) { return _mm512_cvtps_pd(high_half(x)); }
static inline void octet_add(octet *s, size_t i, vec v)
{
	*s += low_half(v);
	*s += high_half(v);
}
static inline __m256i load_halves(const uint16_t *x) { return _mm256_loadu_si256((const __m256i *)x); }
static inline vec widen_f16(const uint16_t *x) { return _mm512_cvtph_ps(load_halves(x)); }
static inline ivec widen_u16(const uint16_t *x) { return (ivec)_mm512_cvtepu16_epi32(load_halves(x)); }
static inline __m128i load_bytes(const uint8_t *x) { return _mm_loadu_si128((const __m128i *)x); }
static inline ivec widen_i8(const uint8_t *x) { return (ivec)_mm512_cvtepi8_epi32(load_bytes(x)); }
static inline ivec widen_u8(const uint8_t *x) { return (ivec)_mm512_cvtepu8_epi32(load_bytes(x)); }
static inline vec pick(const float *table, ivec at)
{
	return _mm512_permutexvar_ps((__m512i)at, _mm512_loadu_ps(table));
}

/* Each byte is put into two places; of the first one its upper half is shifted down. */
static inline ivec nibbles(const uint8_t *x)
{
	const __m512i bytes = _mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i *)x));
	const __m512i twice = _mm512_or_si512(bytes, _mm512_slli_epi64(bytes, 32));

	return (ivec)_mm512_srlv_epi32(twice, _mm512_set1_epi64(4)) & 15;
}

static inline vec choose(ivec mask, vec yes, vec no)
{
	return _mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)mask), no, yes);
}
/* These keep a NaN in x: the machine returns its second operand when the two do not compare. */
static inline vec at_least(vec x, float low) { return _mm512_max_ps(all(low), x); }
static inline vec at_most(vec x, float high) { return _mm512_min_ps(all(high), x); }
static inline vec greater(vec a, vec b) { return _mm512_max_ps(a, b); }                 /* b where a or b is NaN */

#define HAS_MASKS
static inline __mmask16 first_of(size_t n) { return n >= LANES ? 0xffff : (1u << n) - 1; }
static inline vec load_some(const float *p, size_t n) { return _mm512_maskz_loadu_ps(first_of(n), p); }
static inline void store_some(float *p, vec v, size_t n) { _mm512_mask_storeu_ps(p, first_of(n), v); }

/* Rows become columns: pairs of rows, then fours, are interleaved within each quarter, then the quarters change
 * places. */
static inline __attribute__((always_inline)) void transpose(vec *v)
{
	vec t[16], u[16];
	int i;

#pragma GCC unroll 8
	for (i = 0; i < 16; i += 2) {
		t[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
		t[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
	}
#pragma GCC unroll 4
	for (i = 0; i < 16; i += 4) {
		u[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
		u[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
		u[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
		u[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
	}
#pragma GCC unroll 4
	for (i = 0; i < 4; i++) {
		t[i] = _mm512_shuffle_f32x4(u[i], u[i + 4], 0x88);
		t[i + 4] = _mm512_shuffle_f32x4(u[i], u[i + 4], 0xdd);
		t[i + 8] = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0x88);
		t[i + 12] = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0xdd);
	}
#pragma GCC unroll 4
	for (i = 0; i < 4; i++) {
		v[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
		v[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
		v[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
		v[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
	}
}
