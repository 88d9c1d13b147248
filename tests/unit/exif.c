/* Orientation from Exif: both byte orders, the prefix or not, and every kind of damage, which must mean "upright". */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/io/image.h"
#include <cmocka.h>

#define LITTLE "II*\0\x08\0\0\0\x02\0" "\x0f\x01\x02\0\x04\0\0\0abc\0" "\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" "\0\0\0\0"
#define BIG "MM\0*\0\0\0\x08\0\x01" "\x01\x12\0\x03\0\0\0\x01\0\x08\0\0" "\0\0\0\0"

/* Some writers say LONG where the standard wants SHORT, and other readers obey them. */
#define BIG_LONG "MM\0*\0\0\0\x08\0\x01" "\x01\x12\0\x04\0\0\0\x01\0\0\0\x03" "\0\0\0\0"

static int of(const char *bytes, size_t n)
{
	uint8_t *exact = malloc(n ? n : 1);             /* so that a sanitizer sees one byte too many */
	int orientation;

	memcpy(exact, bytes, n);
	orientation = exif_orientation(exact, n);
	free(exact);
	return orientation;
}

static void reads(void **state)
{
	assert_int_equal(of(LITTLE, sizeof(LITTLE) - 1), 6);
	assert_int_equal(of(BIG, sizeof(BIG) - 1), 8);
	assert_int_equal(of("Exif\0\0" LITTLE, sizeof("Exif\0\0" LITTLE) - 1), 6);
	assert_int_equal(of(BIG_LONG, sizeof(BIG_LONG) - 1), 3);
}

static void truncated(void **state)
{
	for (size_t n = 0; n < sizeof(LITTLE) - 5; n++)
		assert_int_equal(of(LITTLE, n), n < 34 ? 1 : 6);
}

static void damaged(void **state)
{
	static const struct { size_t at; char value; } damage[] = {
		{ 0, 'X' }, { 1, 'M' }, { 2, 43 }, { 7, 0x7f }, { 4, 0x21 }, { 22, 0x13 }, { 24, 5 }, { 30, 0 },
		{ 30, 9 },
		{ 31, 1 } };

	for (size_t i = 0; i < sizeof(damage) / sizeof(damage[0]); i++) {
		char bytes[] = LITTLE;
		bytes[damage[i].at] = damage[i].value;
		assert_int_equal(of(bytes, sizeof(bytes) - 1), 1);
	}
}

/* 100,000 random directories: any number, no crash, nothing but 1 to 8. */
static void noise(void **state)
{
	uint32_t x = 7;

	for (int i = 0; i < 100000; i++) {
		char bytes[] = LITTLE;
		for (int k = 0; k < 3; k++) {
			x = x * 1664525 + 1013904223;
			bytes[(x >> 8) % (sizeof(bytes) - 1)] = (char)(x >> 24);
		}
		assert_in_range(of(bytes, (x >> 4) % sizeof(bytes)), 1, 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(reads), cmocka_unit_test(truncated),
					    cmocka_unit_test(damaged), cmocka_unit_test(noise) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
