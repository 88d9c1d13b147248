/* The inner loops of resample.c with AVX2. */
#ifdef __x86_64__
#include <immintrin.h>
#include <string.h>
#include "resample_loops.h"

#define AVX2 __attribute__((target("avx2")))

/* A pixel takes four lanes; the fourth belongs to the next pixel, which overwrites it. */
AVX2 static void across(const struct weights *w, const uint8_t *row, int n, const struct pass_bits *b, uint16_t *out)
{
	const __m128i half = _mm_set1_epi32(1 << (b->across - b->between - 1));
	const __m128i shift = _mm_cvtsi32_si128(b->across - b->between),
		top = _mm_set1_epi16((short)(255 << b->between));

	for (int i = 0; i < n; i++, out += 3) {
		const int32_t *weight = w->weight + (size_t)i * w->taps;
		const uint8_t *p = row + 3 * (size_t)w->first[i];
		__m128i sum = half;

		for (int k = 0; k < w->count[i]; k++, p += 3) {
			int four;
			memcpy(&four, p, sizeof(four));
			sum = _mm_add_epi32(sum, _mm_mullo_epi32(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four)),
								 _mm_set1_epi32(weight[k])));
		}
		sum = _mm_sra_epi32(sum, shift);
		sum = _mm_min_epu16(_mm_packus_epi32(sum, sum), top);
		_mm_storel_epi64((__m128i *)out, sum);
	}
}

AVX2 static __m128i eight(const uint16_t *const *row, const int32_t *weight, int count, int v, __m128i shift,
			  __m256i half)
{
	__m256i sum = half;
	__m128i words;

	for (int k = 0; k < count; k++) {
		__m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(row[k] + v)));
		sum = _mm256_add_epi32(sum, _mm256_mullo_epi32(wide, _mm256_set1_epi32(weight[k])));
	}
	sum = _mm256_sra_epi32(sum, shift);
	words = _mm_packus_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
	return _mm_packus_epi16(_mm_min_epu16(words, _mm_set1_epi16(255)), words);
}

AVX2 static void down(const uint16_t *const *row, const int32_t *weight, int count, int values,
		      const struct pass_bits *b, uint8_t *out)
{
	const __m128i shift = _mm_cvtsi32_si128(b->down + b->between);
	const __m256i half = _mm256_set1_epi32(1 << (b->down + b->between - 1));
	int v;

	for (v = 0; v + 8 <= values; v += 8)
		_mm_storel_epi64((__m128i *)(out + v), eight(row, weight, count, v, shift, half));
	if (v < values) {
		uint8_t last[16];
		_mm_storeu_si128((__m128i *)last, eight(row, weight, count, v, shift, half));
		memcpy(out + v, last, (size_t)(values - v));
	}
}

const struct resample_loops resample_avx2 = { across, down };
#endif
