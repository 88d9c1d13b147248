/* SHA-256 as FIPS 180-4 has it: padding, two block functions of equal result, and the choice between them. */
#include <stdio.h>
#include <string.h>
#include "cpu.h"
#include "hash.h"
#include "hash_paths.h"

static const uint32_t K[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

static uint32_t big_endian(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void expand(uint32_t w[64], const unsigned char *data)
{
	for (int i = 0; i < 16; i++)
		w[i] = big_endian(data + 4 * i);
	for (int i = 16; i < 64; i++) {
		uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
		uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
		w[i] = w[i - 16] + s0 + w[i - 7] + s1;
	}
}

static void block(uint32_t state[8], const unsigned char *data)
{
	uint32_t w[64], v[8];

	expand(w, data);
	memcpy(v, state, sizeof(v));
	for (int i = 0; i < 64; i++) {
		uint32_t s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25);
		uint32_t choose = (v[4] & v[5]) ^ (~v[4] & v[6]);
		uint32_t t1 = v[7] + s1 + choose + K[i] + w[i];
		uint32_t s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
		uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);

		memmove(v + 1, v, 7 * sizeof(v[0]));
		v[4] += t1;
		v[0] = t1 + s0 + majority;
	}
	for (int i = 0; i < 8; i++)
		state[i] += v[i];
}

void sha256_blocks_portable(uint32_t state[8], const unsigned char *data, size_t blocks)
{
	for (; blocks; blocks--, data += 64)
		block(state, data);
}

#ifdef __x86_64__
#include <immintrin.h>

#define NI __attribute__((target("sha,sse4.1,ssse3")))

/* The instructions want the state as two registers, words A B E F and C D G H. */
struct halves { __m128i abef, cdgh; };

NI static inline __m128i load(const unsigned char *p)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);

	return _mm_shuffle_epi8(_mm_loadu_si128((const void *)p), swap);
}

NI static inline void four_rounds(struct halves *s, __m128i words, const uint32_t *k)
{
	__m128i sum = _mm_add_epi32(words, _mm_loadu_si128((const void *)k));

	s->cdgh = _mm_sha256rnds2_epu32(s->cdgh, s->abef, sum);
	s->abef = _mm_sha256rnds2_epu32(s->abef, s->cdgh, _mm_shuffle_epi32(sum, 0x0e));
}

/* Words 16..19 of the schedule from words 0..15; then 20..23 from 4..19, and so on. */
NI static inline __m128i next_words(__m128i a, __m128i b, __m128i c, __m128i d)
{
	__m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(a, b), _mm_alignr_epi8(d, c, 4));

	return _mm_sha256msg2_epu32(sum, d);
}

NI static inline void block_ni(struct halves *s, const unsigned char *data)
{
	__m128i a = load(data), b = load(data + 16), c = load(data + 32), d = load(data + 48);

	for (int i = 0;; i += 16) {
		four_rounds(s, a, K + i);
		four_rounds(s, b, K + i + 4);
		four_rounds(s, c, K + i + 8);
		four_rounds(s, d, K + i + 12);
		if (i == 48)
			return;
		a = next_words(a, b, c, d);
		b = next_words(b, c, d, a);
		c = next_words(c, d, a, b);
		d = next_words(d, a, b, c);
	}
}

NI void sha256_blocks_ni(uint32_t state[8], const unsigned char *data, size_t blocks)
{
	__m128i badc = _mm_shuffle_epi32(_mm_loadu_si128((const void *)state), 0xb1);
	__m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128((const void *)(state + 4)), 0x1b);
	struct halves s = { _mm_alignr_epi8(badc, hgfe, 8), _mm_blend_epi16(hgfe, badc, 0xf0) };
	__m128i feba, dchg;

	for (; blocks; blocks--, data += 64) {
		struct halves old = s;

		block_ni(&s, data);
		s.abef = _mm_add_epi32(s.abef, old.abef);
		s.cdgh = _mm_add_epi32(s.cdgh, old.cdgh);
	}
	feba = _mm_shuffle_epi32(s.abef, 0x1b);
	dchg = _mm_shuffle_epi32(s.cdgh, 0xb1);
	_mm_storeu_si128((void *)state, _mm_blend_epi16(feba, dchg, 0xf0));
	_mm_storeu_si128((void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}
#endif

static void blocks_by_any(uint32_t state[8], const unsigned char *data, size_t blocks)
{
#ifdef __x86_64__
	if (cpu_has_sha()) {
		sha256_blocks_ni(state, data, blocks);
		return;
	}
#endif
	sha256_blocks_portable(state, data, blocks);
}

void sha256_begin(struct sha256 *s)
{
	static const uint32_t start[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
					   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

	memcpy(s->state, start, sizeof(start));
	s->bytes = 0;
}

void sha256_add(struct sha256 *s, const void *data, size_t n)
{
	const unsigned char *p = data;
	size_t held = s->bytes % 64;

	s->bytes += n;
	if (held) {
		size_t take = n < 64 - held ? n : 64 - held;

		memcpy(s->block + held, p, take);
		if (held + take < 64)
			return;
		blocks_by_any(s->state, s->block, 1);
		p += take;
		n -= take;
	}
	blocks_by_any(s->state, p, n / 64);
	if (n % 64)
		memcpy(s->block, p + n / 64 * 64, n % 64);
}

void sha256_end(struct sha256 *s, unsigned char digest[32])
{
	unsigned char tail[72] = { 0x80 };
	size_t pad = 1 + (119 - s->bytes % 64) % 64;
	uint64_t bits = s->bytes * 8;

	for (int i = 0; i < 8; i++)
		tail[pad + i] = bits >> (56 - 8 * i);
	sha256_add(s, tail, pad + 8);
	for (int i = 0; i < 32; i++)
		digest[i] = s->state[i / 4] >> (24 - 8 * (i % 4));
}

void sha256_hex(struct sha256 *s, char hex[65])
{
	unsigned char digest[32];

	sha256_end(s, digest);
	for (int i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

void sha256_hex_of(const void *data, size_t n, char hex[65])
{
	struct sha256 s;

	sha256_begin(&s);
	sha256_add(&s, data, n);
	sha256_hex(&s, hex);
}
