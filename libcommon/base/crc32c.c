/* CRC-32C: eight bytes a step by tables, or by the instruction that SSE4.2 has for it. */
#include <string.h>
#include "cpu.h"
#include "hash.h"
#include "hash_paths.h"

/* The CRC is linear over exclusive-or, so eight numbers, one per bit, make a table of 256. */
#define ONE(n, a, b, c, d, e, f, g, h) \
	(((n) & 1 ? a : 0) ^ ((n) & 2 ? b : 0) ^ ((n) & 4 ? c : 0) ^ ((n) & 8 ? d : 0) ^ \
	 ((n) & 16 ? e : 0) ^ ((n) & 32 ? f : 0) ^ ((n) & 64 ? g : 0) ^ ((n) & 128 ? h : 0))
#define FOUR(n, ...) ONE(n, __VA_ARGS__), ONE((n) + 1, __VA_ARGS__), ONE((n) + 2, __VA_ARGS__), \
	ONE((n) + 3, __VA_ARGS__)
#define X16(n, ...) FOUR(n, __VA_ARGS__), FOUR((n) + 4, __VA_ARGS__), FOUR((n) + 8, __VA_ARGS__), \
	FOUR((n) + 12, __VA_ARGS__)
#define X64(n, ...) X16(n, __VA_ARGS__), X16((n) + 16, __VA_ARGS__), X16((n) + 32, __VA_ARGS__), \
	X16((n) + 48, __VA_ARGS__)
#define X256(...) X64(0, __VA_ARGS__), X64(64, __VA_ARGS__), X64(128, __VA_ARGS__), X64(192, __VA_ARGS__)

/* table[k][b]: what byte b does to the CRC when k more bytes follow it. */
static const uint32_t table[8][256] = {
	{ X256(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78) },
	{ X256(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9) },
	{ X256(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743) },
	{ X256(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f) },
	{ X256(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c) },
	{ X256(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6) },
	{ X256(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4) },
	{ X256(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664) },
};

uint32_t crc32c_portable(uint32_t crc, const unsigned char *data, size_t n)
{
	crc = ~crc;
	for (; n >= 8; n -= 8, data += 8) {
		uint32_t next = 0;

		for (int i = 0; i < 4; i++)
			next ^= table[7 - i][(data[i] ^ crc >> 8 * i) & 255] ^ table[3 - i][data[4 + i]];
		crc = next;
	}
	for (; n; n--, data++)
		crc = crc >> 8 ^ table[0][(crc ^ *data) & 255];
	return ~crc;
}

#ifdef __x86_64__
#include <immintrin.h>

__attribute__((target("sse4.2"))) uint32_t crc32c_sse42(uint32_t crc, const unsigned char *data, size_t n)
{
	uint64_t c = ~crc;

	for (; n >= 8; n -= 8, data += 8) {
		uint64_t word;

		memcpy(&word, data, 8);
		c = _mm_crc32_u64(c, word);
	}
	for (; n; n--, data++)
		c = _mm_crc32_u8((uint32_t)c, *data);
	return ~(uint32_t)c;
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t n)
{
#ifdef __x86_64__
	if (cpu_has_crc32())
		return crc32c_sse42(crc, data, n);
#endif
	return crc32c_portable(crc, data, n);
}
