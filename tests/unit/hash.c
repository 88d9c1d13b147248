/* SHA-256 against FIPS 180-4's examples, CRC-32C against RFC 3720's, and the fast ways against the portable ones. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include "../../libcommon/base/cpu.h"
#include "../../libcommon/base/hash.h"
#include "../../libcommon/base/hash_paths.h"
#include <cmocka.h>     /* after ours: its macro fail() hides base/error.h's function */

static void fill(unsigned char *p, size_t n)
{
	uint32_t x = 1;

	for (size_t i = 0; i < n; i++) {
		x = x * 1664525 + 1013904223;
		p[i] = x >> 24;
	}
}

static void sha256_vectors(void **state)
{
	static const struct { const char *text, *hex; } cases[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
		{ "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
		  "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
		  "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char hex[65];

		sha256_hex_of(cases[i].text, strlen(cases[i].text), hex);
		assert_string_equal(hex, cases[i].hex);
	}
}

static void sha256_of_a_million(void **state)
{
	struct sha256 s;
	char chunk[1000], hex[65];

	memset(chunk, 'a', sizeof(chunk));
	sha256_begin(&s);
	for (int i = 0; i < 1000; i++)
		sha256_add(&s, chunk, sizeof(chunk));
	sha256_hex(&s, hex);
	assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void sha256_in_pieces(void **state)
{
	unsigned char data[300];

	fill(data, sizeof(data));
	for (size_t n = 0; n <= sizeof(data); n++) {
		char whole[65], pieces[65];

		sha256_hex_of(data, n, whole);
		for (size_t cut = 0; cut <= n; cut += 13) {
			struct sha256 s;

			sha256_begin(&s);
			sha256_add(&s, data, cut);
			sha256_add(&s, data + cut, n - cut);
			sha256_hex(&s, pieces);
			assert_string_equal(pieces, whole);
		}
	}
}

static void crc32c_vectors(void **state)
{
	unsigned char zeros[32] = { 0 }, ones[32], up[32], down[32];

	memset(ones, 0xff, sizeof(ones));
	for (int i = 0; i < 32; i++) {
		up[i] = i;
		down[i] = 31 - i;
	}
	assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aa);
	assert_int_equal(crc32c(0, ones, 32), 0x62a8ab43);
	assert_int_equal(crc32c(0, up, 32), 0x46dd794e);
	assert_int_equal(crc32c(0, down, 32), 0x113fdb5c);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(0, "", 0), 0);
}

static void crc32c_bit_by_bit(void **state)
{
	unsigned char data[100];
	uint32_t crc = ~0u;

	fill(data, sizeof(data));
	for (size_t n = 0; n <= sizeof(data); n++) {
		assert_int_equal(crc32c_portable(0, data, n), (uint32_t)~crc);
		assert_int_equal(crc32c(crc32c(0, data, n / 3), data + n / 3, n - n / 3), (uint32_t)~crc);
		if (n == sizeof(data))
			break;
		crc ^= data[n];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
	}
}

/* On a processor without the instructions there is one way only, and the vectors above have tested it. */
static void fast_equals_portable(void **state)
{
#ifdef __x86_64__
	unsigned char data[64 * 9 + 1];

	fill(data, sizeof(data));
	for (size_t blocks = 0; cpu_has_sha() && blocks <= 9; blocks++) {
		uint32_t a[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, b[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

		sha256_blocks_portable(a, data + 1, blocks);
		sha256_blocks_ni(b, data + 1, blocks);
		assert_memory_equal(a, b, sizeof(a));
	}
	for (size_t n = 0; cpu_has_crc32() && n < sizeof(data); n++)
		assert_int_equal(crc32c_portable(7, data + 1, n), crc32c_sse42(7, data + 1, n));
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256_vectors),
		cmocka_unit_test(sha256_of_a_million),
		cmocka_unit_test(sha256_in_pieces),
		cmocka_unit_test(crc32c_vectors),
		cmocka_unit_test(crc32c_bit_by_bit),
		cmocka_unit_test(fast_equals_portable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
