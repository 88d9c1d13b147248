/* Names and sizes; half precision over all its values and against arithmetic; both ways of converting equal. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>
#include "../../libcommon/io/dtype.h"
#include "../../libcommon/io/dtype_half.h"

static float f32(uint32_t bits)
{
	float x;

	memcpy(&x, &bits, 4);
	return x;
}

static uint16_t half_of(float x)
{
	uint16_t h;

	assert_int_equal(from_float(&h, DTYPE_F16, &x, 1), 0);
	return h;
}

static uint16_t bf16_of(float x)
{
	uint16_t h;

	assert_int_equal(from_float(&h, DTYPE_BF16, &x, 1), 0);
	return h;
}

static void names(void **state)
{
	static const struct { const char *name; enum dtype t; size_t size; } cases[] = {
		{ "F64", DTYPE_F64, 8 }, { "I64", DTYPE_I64, 8 }, { "U64", DTYPE_U64, 8 }, { "F32", DTYPE_F32, 4 },
		{ "I32", DTYPE_I32, 4 }, { "U32", DTYPE_U32, 4 }, { "F16", DTYPE_F16, 2 }, { "BF16", DTYPE_BF16, 2 },
		{ "I16", DTYPE_I16, 2 }, { "U16", DTYPE_U16, 2 }, { "F8_E4M3", DTYPE_F8_E4M3, 1 },
		{ "F8_E5M2", DTYPE_F8_E5M2, 1 }, { "I8", DTYPE_I8, 1 }, { "U8", DTYPE_U8, 1 },
		{ "BOOL", DTYPE_BOOL, 1 },
	};

	assert_int_equal(sizeof(cases) / sizeof(*cases), DTYPE_COUNT);
	for (int i = 0; i < DTYPE_COUNT; i++) {
		assert_string_equal(dtype_name(cases[i].t), cases[i].name);
		assert_int_equal(dtype_from_name(cases[i].name, strlen(cases[i].name)), cases[i].t);
		assert_int_equal(dtype_size(cases[i].t), cases[i].size);
	}
	assert_int_equal(dtype_from_name("f32", 3), -1);
	assert_int_equal(dtype_from_name("F3", 2), -1);
	assert_int_equal(dtype_from_name("", 0), -1);
}

/* By arithmetic, not by bits: what a half's fields mean. */
static double meaning(uint16_t h)
{
	int exponent = h >> 10 & 31, fraction = h & 1023;
	double size = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);

	return h & 0x8000 ? -size : size;
}

static void every_half(void **state)
{
	for (uint32_t h = 0; h < 65536; h++) {
		uint16_t half = (uint16_t)h;
		float x;

		assert_int_equal(to_float(&x, &half, DTYPE_F16, 1), 0);
		if ((h & 0x7c00) != 0x7c00) {
			assert_true(x == meaning(half) && !signbit(x) == !(h & 0x8000));
			assert_int_equal(half_of(x), half);
		} else if (h & 0x3ff) {
			assert_true(isnan(x));
		} else {
			assert_true(isinf(x) && !signbit(x) == !(h & 0x8000));
			assert_int_equal(half_of(x), half);
		}
	}
}

/* Just below, at and just above every midpoint between neighbours. */
static void rounding_to_half(void **state)
{
	for (uint16_t h = 0; h < 0x7bff; h++) {
		float middle = (float)((meaning(h) + meaning(h + 1)) / 2);

		assert_int_equal(half_of(middle), h & 1 ? h + 1 : h);
		assert_int_equal(half_of(nextafterf(middle, 0)), h);
		assert_int_equal(half_of(nextafterf(middle, 1e9f)), h + 1);
		assert_int_equal(half_of(-middle), (h & 1 ? h + 1 : h) | 0x8000);
	}
	assert_int_equal(half_of(65519.996f), 0x7bff);
	assert_int_equal(half_of(65520.0f), 0x7c00);
	assert_int_equal(half_of(-1e30f), 0xfc00);
	assert_int_equal(half_of(f32(1)), 0);
	assert_true(isnan(f32(0x7f800001)) && (half_of(f32(0x7f800001)) & 0x7fff) > 0x7c00);
}

static void bfloat(void **state)
{
	for (uint32_t h = 0; h < 0x7f80; h++) {
		float low = f32(h << 16), middle = f32(h << 16 | 0x8000), x;
		uint16_t half = (uint16_t)h;

		assert_int_equal(to_float(&x, &half, DTYPE_BF16, 1), 0);
		assert_memory_equal(&x, &low, 4);
		assert_int_equal(bf16_of(low), h);
		assert_int_equal(bf16_of(middle), h & 1 ? h + 1 : h);
		assert_int_equal(bf16_of(f32(h << 16 | 0x7fff)), h);
		assert_int_equal(bf16_of(f32(h << 16 | 0x8001)), h + 1);
	}
	assert_int_equal(bf16_of(f32(0xff800000)), 0xff80);
	/* With the quiet bit set, neither of these becomes a number. */
	assert_int_equal(bf16_of(f32(0x7f800001)), 0x7fc0);
	assert_int_equal(bf16_of(f32(0xffffffff)), 0xffff);
}

/* What the fields of an 8-bit float mean: exponent bits, fraction bits; `most` is the last code that is a number. */
struct f8_type { enum dtype type; int exponent, fraction, most, above; };
static const struct f8_type f8_types[] = { { DTYPE_F8_E4M3, 4, 3, 0x7e, 0x7f }, { DTYPE_F8_E5M2, 5, 2, 0x7b, 0x7c } };

static double meaning_of_f8(const struct f8_type *t, int code)
{
	const int e = code >> t->fraction, f = code & ((1 << t->fraction) - 1), bias = (1 << (t->exponent - 1)) - 1;

	return e ? ldexp((1 << t->fraction) + f, e - bias - t->fraction) : ldexp(f, 1 - bias - t->fraction);
}

static int f8_of(const struct f8_type *t, float x)
{
	unsigned char code;

	assert_int_equal(from_float(&code, t->type, &x, 1), 0);
	return code;
}

static void every_f8(void **state)
{
	for (int k = 0; k < 2; k++)
		for (int code = 0; code < 256; code++) {
			const struct f8_type *t = &f8_types[k];
			const unsigned char byte = (unsigned char)code;
			float x;

			assert_int_equal(to_float(&x, &byte, t->type, 1), 0);
			if ((code & 0x7f) <= t->most) {
				assert_true(fabsf(x) == meaning_of_f8(t, code & 0x7f) && !signbit(x) == !(code & 0x80));
				assert_int_equal(f8_of(t, x), code);
			} else {
				assert_true(k == 1 && (code & 0x7f) == 0x7c ? isinf(x) : isnan(x));
			}
		}
}

/* Around every midpoint between neighbours, that behind the last number too. */
static void rounding_to_f8(void **state)
{
	for (int k = 0; k < 2; k++) {
		const struct f8_type *t = &f8_types[k];

		for (int code = 0; code <= t->most; code++) {
			const float middle = (float)((meaning_of_f8(t, code) + meaning_of_f8(t, code + 1)) / 2);

			assert_int_equal(f8_of(t, middle), code & 1 ? code + 1 : code);
			assert_int_equal(f8_of(t, nextafterf(middle, 0)), code);
			assert_int_equal(f8_of(t, nextafterf(middle, 1e9f)), code + 1);
			assert_int_equal(f8_of(t, -middle), (code & 1 ? code + 1 : code) | 0x80);
		}
		assert_int_equal(f8_of(t, 1e30f), t->above);
		assert_int_equal(f8_of(t, -INFINITY), t->above | 0x80);
		assert_int_equal(f8_of(t, NAN) & 0x7f, 0x7f);
		assert_int_equal(f8_of(t, f32(1)), 0);
	}
}

static void fast_equals_portable(void **state)
{
	enum { N = 1 << 16 };
	unsigned char *halves = malloc(2 * N + 1), *again = malloc(2 * N + 1);
	float *x = malloc(4 * N), *y = malloc(4 * N);
	uint32_t bits = 1;

	for (uint32_t i = 0; i < N; i++)
		memcpy(halves + 1 + 2 * i, &(uint16_t){ (uint16_t)i }, 2);
	half_to_float(x, halves + 1, N);
	half_to_float_portable(y, halves + 1, N);
	assert_memory_equal(x, y, 4 * N);
	for (int round = 0; round < 16; round++) {
		for (int i = 0; i < N; i++) {
			bits = bits * 1664525 + 1013904223;
			/* half of them in the range where a half's exponent decides */
			x[i] = f32(i & 1 ? bits : (bits & 0x80ffffff) + 0x32000000 + (bits >> 26 & 15) * 0x1000000);
		}
		half_from_float(halves + 1, x, N - 3);
		half_from_float_portable(again + 1, x, N - 3);
		assert_memory_equal(halves + 1, again + 1, 2 * (N - 3));
	}
	free(halves);
	free(again);
	free(x);
	free(y);
}

static void numbers(void **state)
{
	unsigned char raw[33];
	float x[2];

	memcpy(raw + 1, (double[]){ 0.1, -1e300 }, 16);
	assert_int_equal(to_float(x, raw + 1, DTYPE_F64, 2), 0);
	assert_true(x[0] == 0.1f && isinf(x[1]) && x[1] < 0);
	memcpy(raw + 1, (int64_t[]){ -5, (1ll << 40) + 1 }, 16);
	assert_int_equal(to_float(x, raw + 1, DTYPE_I64, 2), 0);
	assert_true(x[0] == -5 && x[1] == 0x1p40f);
	memcpy(raw + 1, (int32_t[]){ INT32_MIN, 7 }, 8);
	assert_int_equal(to_float(x, raw + 1, DTYPE_I32, 2), 0);
	assert_true(x[0] == -0x1p31f && x[1] == 7);
	memcpy(raw + 1, (uint8_t[]){ 0, 255 }, 2);
	assert_int_equal(to_float(x, raw + 1, DTYPE_U8, 2), 0);
	assert_true(x[0] == 0 && x[1] == 255);
	memcpy(raw + 1, (float[]){ 1.5f, -0.0f }, 8);
	assert_int_equal(to_float(x, raw + 1, DTYPE_F32, 2), 0);
	assert_true(x[0] == 1.5f && x[1] == 0 && signbit(x[1]));
	assert_int_equal(from_float(raw + 1, DTYPE_F32, x, 2), 0);
	assert_memory_equal(raw + 1, x, 8);
}

static void refused(void **state)
{
	static const enum dtype no_float[] = { DTYPE_U64, DTYPE_U32, DTYPE_I16, DTYPE_U16, DTYPE_I8, DTYPE_BOOL };
	float x = 1;
	unsigned char raw[8] = { 0 };

	for (size_t i = 0; i < sizeof(no_float) / sizeof(*no_float); i++) {
		assert_int_equal(to_float(&x, raw, no_float[i], 1), -1);
		assert_int_equal(from_float(raw, no_float[i], &x, 1), -1);
	}
	assert_int_equal(from_float(raw, DTYPE_F64, &x, 1), -1);
	assert_int_equal(from_float(raw, DTYPE_I64, &x, 1), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(every_half),
		cmocka_unit_test(rounding_to_half),
		cmocka_unit_test(bfloat),
		cmocka_unit_test(every_f8),
		cmocka_unit_test(rounding_to_f8),
		cmocka_unit_test(fast_equals_portable),
		cmocka_unit_test(numbers),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
