/* What is accepted and what is refused, with which words; hostile headers within bounds; the writer's exact bytes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#undef fail     /* cmocka's macro; the library has a function of that name */
#include "../../libcommon/base/memory.h"
#include "../../libcommon/io/safetensors.h"
#include "sanitized.h"

/* Sanitizers cost time and memory of their own. */
#define SLOWER (SANITIZED ? 10 : 1)

static void add_length(struct buffer *b, uint64_t length)
{
	for (int i = 0; i < 8; i++)
		buffer_add(b, &(char){ (char)(length >> 8 * i) }, 1);
}

static void build(struct buffer *b, const char *header, size_t n, size_t data)
{
	buffer_clear(b);
	add_length(b, n);
	buffer_add(b, header, n);
	for (size_t i = 0; i < data; i++)
		buffer_add(b, "d", 1);
}

/* The bytes in memory of just that size, so that a sanitizer sees a read beyond them.  NULL in words: accepted. */
static void check_bytes(const char *bytes, size_t n, const char *words)
{
	struct error e = { 0 };
	char *exact = malloc(n ? n : 1);
	struct safetensors *s;

	memcpy(exact, bytes, n);
	s = safetensors_parse("label", exact, n, &e);
	if (!words) {
		assert_string_equal(e.text, "");
		assert_non_null(s);
	} else {
		assert_null(s);
		assert_int_equal(e.code, EXIT_INPUT);
		assert_int_equal(strncmp(e.text, "label: ", 7), 0);
		if (!strstr(e.text, words))
			assert_string_equal(e.text, words);     /* fails, and shows both */
	}
	safetensors_close(s);
	free(exact);
}

static void check(const char *header, size_t n, size_t data, const char *words)
{
	struct buffer b = { 0 };

	build(&b, header, n, data);
	check_bytes(b.data, b.len, words);
	buffer_free(&b);
}

#define U8(name, from, to, n) "\"" name "\":{\"dtype\":\"U8\",\"shape\":[" #n "],\"data_offsets\":[" #from "," #to "]}"
#define ONE U8("a", 0, 4, 4)

struct verdict { const char *header; size_t data; const char *words; };

/* docs/reliability.md section 4, column "we". */
static const struct verdict matrix[] = {
	{ "{" ONE "}", 4, NULL },
	{ " \n\t{" ONE "}", 4, NULL },                                          /* space before the brace */
	{ "{" ONE "} \n\t\r", 4, NULL },
	{ "\xef\xbb\xbf{" ONE "}", 4, "'{' is needed" },                        /* BOM */
	{ "{" ONE "}x", 4, "something follows" },
	{ "{" ONE "}{}", 4, "something follows" },
	{ "[" ONE "]", 4, "'{' is needed" },
	{ "{" ONE "," ONE "}", 4, "duplicate name 'a'" },                       /* same offsets */
	{ "{" ONE "," U8("\\u0061", 0, 4, 4) "}", 4, "duplicate name 'a'" },
	{ "{" U8("a", 0, 0, 0) "," U8("a", 0, 0, 0) "}", 0, "duplicate name 'a'" },
	{ "{" U8("a", 0, 2, 2) "," U8("a", 2, 4, 2) "}", 4, "duplicate name 'a'" },
	{ "{" U8("a", 0, 2, 2) "," U8("a", 0, 2, 2) "," U8("a", 2, 4, 2) "}", 4, "duplicate name 'a'" },
	{ "{" U8("a", 0, 2, 2) "," U8("a", 3, 4, 1) "}", 4, "duplicate name 'a'" },
	{ "{\"__metadata__\":{},\"__metadata__\":{}," ONE "}", 4, "duplicate name '__metadata__'" },
	{ "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "'dtype' twice" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"sh\\u0061pe\":[4],\"data_offsets\":[0,4]}}", 4, "'shape' twice" },
	{ "{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}," ONE "}", 4, "duplicate name 'k'" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"new\":[{\"x\":-1.5e3},null]}}", 4, NULL },
	{ "{\"a\":{\"new\":[[[[[[[1]]]]]]],\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4,
	  "nested more than" },
	{ "{\"__metadata__\":null," ONE "}", 4, NULL },
	{ "{\"__metadata__\":{\"k\":1}," ONE "}", 4, "'k' is not a text" },
	{ "{\"__metadata__\":{\"k\":null}," ONE "}", 4, "'k' is not a text" },
	{ "{\"__metadata__\":{\"k\":{}}," ONE "}", 4, "'k' is not a text" },
	{ "{\"__metadata__\":[]," ONE "}", 4, "'{' is needed" },
	{ "{" U8("a", 0, 4, 4) "," U8("b", 3, 7, 4) "}", 7, "inside another" },  /* overlap */
	{ "{" U8("a", 0, 4, 4) "," U8("b", 0, 4, 4) "}", 4, "inside another" },
	{ "{" U8("a", 0, 4, 4) "," U8("b", 5, 9, 4) "}", 9, "after a hole" },
	{ "{" U8("a", 1, 5, 4) "}", 5, "after a hole" },
	{ "{" ONE "}", 5, "1 bytes follow the last tensor" },
	{ "{" ONE "}", 3, "download incomplete" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8.0]}}", 8, "whole number" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8e0]}}", 8, "whole number" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[-0,8]}}", 8, "whole number" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[-8],\"data_offsets\":[0,8]}}", 8, "whole number" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[08],\"data_offsets\":[0,8]}}", 8, "whole number" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,0]}}", 4, "ends before it begins" },
	{ "{\"a\":{\"dtype\":\"u8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "unknown type 'u8'" },
	{ "{\"a\":{\"dtype\":\"F7\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "unknown type 'F7'" },
	{ "{\"a\":{\"dtype\":8,\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "'\"' is needed" },
	{ "{\"a\":{\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "no 'dtype'" },
	{ "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,4]}}", 4, "no 'shape'" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[4]}}", 4, "no 'data_offsets'" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4,8]}}", 4, "']' is needed" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0]}}", 4, "',' is needed" },
	{ "{\"a\":{}}", 0, "needed" },
	{ "{\"a\":null}", 0, "'{' is needed" },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "above 2^64" },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,0],\"data_offsets\":[0,0]}}", 0, "above 2^64" },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[0,4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "above 2^64" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[0,18446744073709551615],\"data_offsets\":[0,0]}}", 0, "above 2^48" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[18446744073709551616],\"data_offsets\":[0,0]}}", 0, "above 2^64" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[18446744073709551615,18446744073709551616]}}", 1,
	  "above 2^64" },
	{ "{\"a\":{\"dtype\":\"F64\",\"shape\":[281474976710656,8191],\"data_offsets\":[0,18444492273895866368]}}", 0,
	  "download incomplete" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[0,281474976710656],\"data_offsets\":[0,0]}}", 0, NULL },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, NULL },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1,
	  "more than 8 dimensions" },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, NULL },        /* a scalar */
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
	  "needs 8 bytes by type and shape, its offsets give 4" },
	{ "{}", 0, NULL },
	{ "{}", 1, "follow the last tensor" },
	{ "{" U8("b", 3, 4, 1) "," U8("a", 0, 3, 3) "}", 4, NULL },             /* unordered */
	{ "{" U8("b", 0, 1, 1) ",\"f\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}", 5, NULL },
	{ "{" U8("", 0, 4, 4) "}", 4, "without a name" },
	{ "{" U8("a\\u0000b", 0, 4, 4) "}", 4, "NUL" },
	{ "{" U8("a\\ud800", 0, 4, 4) "}", 4, "surrogate" },
	{ "{" U8("a\\ud800\\u0041", 0, 4, 4) "}", 4, "surrogate" },
	{ "{" U8("a\\udc00", 0, 4, 4) "}", 4, "surrogate" },
	{ "{" U8("\\ud83d\\ude00 \\u00e4\\n\\/", 0, 4, 4) "}", 4, NULL },
	{ "{" U8("a\xff", 0, 4, 4) "}", 4, "invalid UTF-8" },
	{ "{" U8("a\xc0\x80", 0, 4, 4) "}", 4, "invalid UTF-8" },
	{ "{" U8("a\xed\xa0\x80", 0, 4, 4) "}", 4, "invalid UTF-8" },
	{ "{" U8("a\n", 0, 4, 4) "}", 4, "control character" },
	{ "{" U8("a\\x", 0, 4, 4) "}", 4, "no such escape" },
	{ "{" U8("a\\u00g0", 0, 4, 4) "}", 4, "hexadecimal" },
	{ "{" ONE ",}", 4, "needed" },
	{ "{" ONE, 4, "it ends where" },
	{ "{\"a", 4, "it ends where" },
	{ "{\"a\\", 4, "no such escape" },
	{ "{\"a\\u12", 4, "hexadecimal" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[4", 4, "it ends where" },
	{ " ", 0, "it ends where" },
};

static void case_matrix(void **state)
{
	for (size_t i = 0; i < sizeof(matrix) / sizeof(*matrix); i++)
		check(matrix[i].header, strlen(matrix[i].header), matrix[i].data, matrix[i].words);
	check("{" ONE "}\0", sizeof("{" ONE "}"), 4, "something follows");
	check("{" U8("a\0b", 0, 4, 4) "}", sizeof("{" U8("a\0b", 0, 4, 4) "}") - 1, 4, "control character");
}

static void cut_and_flipped(void **state)
{
	static const char header[] = "{\"__metadata__\":{\"k\":\"v\\u00e4\"}," U8("a", 0, 2, 2) ","
		U8("b", 2, 6, 4) "}  ";
	struct buffer b = { 0 };

	build(&b, header, sizeof(header) - 1, 6);
	check_bytes(b.data, b.len, NULL);
	for (size_t n = 0; n < b.len; n++)
		check_bytes(b.data, n, "");
	/* A flipped bit may leave a sound file with another name or number; it never crashes or reads outside. */
	for (size_t bit = 0; bit < 8 * b.len; bit++) {
		struct error e = { 0 };
		struct safetensors *s;

		b.data[bit / 8] ^= 1 << bit % 8;
		s = safetensors_parse("label", b.data, b.len, &e);
		assert_true(!s == !!*e.text);
		safetensors_close(s);
		b.data[bit / 8] ^= 1 << bit % 8;
	}
	buffer_free(&b);
}

static void length_of_header(void **state)
{
	struct buffer b = { 0 };

	check_bytes("", 0, "is empty");
	check_bytes("\x01\0\0", 3, "has only 3 bytes");
	check_bytes("\0\0\0\0\0\0\0\0{}", 10, "length 0");
	add_length(&b, 100000001);
	buffer_adds(&b, "{}");
	check_bytes(b.data, b.len, "above the limit of 100000000");
	buffer_clear(&b);
	add_length(&b, UINT64_MAX);
	buffer_adds(&b, "{}");
	check_bytes(b.data, b.len, "above the limit");
	buffer_clear(&b);
	add_length(&b, 60);             /* '<' */
	buffer_adds(&b, "{}");
	check_bytes(b.data, b.len, "its header alone takes 68 bytes, the file has 10: download incomplete");
	buffer_free(&b);
	check("{" ONE "}", sizeof("{" ONE "}") - 1, 0, "its header promises 65 bytes, the file has 61: "
						       "download incomplete");
}

static void other_kinds_of_files(void **state)
{
	static const struct { const char *bytes; size_t n; const char *words; } cases[] = {
		{ "<!DOCTYPE html><html>", 21, "HTML page" }, { "<html lang=en>", 14, "HTML page" },
		{ "\n  <HTML>....", 13, "HTML page" },
		{ "\xef\xbb\xbf<?xml version", 17, "HTML page" },
		{ "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n", 63, "git-lfs pointer" },
		{ "PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0\0\0archive/data.pklFB", 34, "PyTorch pickle (a zip file" },
		{ "PK\x03\x04\0\0\0\0\0\0\0\0\0\0\0\0archive/data.pklFB", 34, "PyTorch pickle (a zip file" },
		{ "PK\x03\x04\x14\0\0\0\x08\0other things", 22, "a zip file" },
		{ "\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\x02M", 17, "PyTorch pickle" },
		{ "\x80\x04\x95\x10\0\0\0\0\0\0\0}", 12, "PyTorch pickle" }, { "\x80\x02}q\x01.", 6, "PyTorch pickle" },
		{ "\x80\x03}q\x01(abcdef", 12, "PyTorch pickle" }, { "\x80\x05}q\x01(abcdef", 12, "PyTorch pickle" },
		{ "{\"error\":\"Repository not found\"}", 32, "JSON text" },
		{ "GGUF\x03\0\0\0\0\0\0\0", 12, "GGUF" }, { "\x1f\x8b\x08\0\0\0\0\x01\0\0\0", 11, "gzip" },
		{ "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16, "PNG" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		check_bytes(cases[i].bytes, cases[i].n, cases[i].words);
}

/* A sound file with a zip behind it would be two files in one. */
static void polyglot(void **state)
{
	struct buffer b = { 0 };

	build(&b, "{" ONE "}", sizeof("{" ONE "}") - 1, 4);
	buffer_add(&b, "PK\x03\x04" "data.pkl", 12);
	check_bytes(b.data, b.len, "12 bytes follow the last tensor");
	buffer_free(&b);
}

static void reading(void **state)
{
	static const char header[] = "{\"__metadata__\":{\"format\":\"pt\",\"e\\\"\":\"\\u20ac\"},"
		"\"h\":{\"dtype\":\"F16\",\"shape\":[2,1],\"data_offsets\":[4,8]},\"b\\u00e4\":{\"dtype\":\"U8\","
		"\"shape\":[4],\"data_offsets\":[0,4]},\"bool\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[8,"
		"9]}}";
	struct buffer b = { 0 };
	struct error e = { 0 };
	const struct safetensor *t;
	struct safetensors *s;
	float *x;

	build(&b, header, sizeof(header) - 1, 0);
	buffer_add(&b, "\x01\x02\x03\x04\x00\x3c\x00\xc0\x01", 9);
	s = safetensors_parse("label", b.data, b.len, &e);
	assert_string_equal(e.text, "");
	assert_int_equal(s->count, 3);
	assert_string_equal(s->tensor[0].name, "b\xc3\xa4");
	assert_string_equal(s->tensor[1].name, "h");
	assert_string_equal(safetensors_metadata(s, "format"), "pt");
	assert_string_equal(safetensors_metadata(s, "e\""), "\xe2\x82\xac");
	assert_null(safetensors_metadata(s, "x"));
	assert_null(safetensors_find(s, "x"));
	t = safetensors_find(s, "h");
	assert_int_equal(t->dtype, DTYPE_F16);
	assert_int_equal(t->dims, 2);
	assert_int_equal(t->shape[0], 2);
	assert_int_equal(safetensor_elements(t), 2);
	assert_memory_equal(safetensors_bytes(s, t), "\x00\x3c\x00\xc0", 4);
	x = safetensors_floats(s, "h", 2, &e);
	assert_true(x[0] == 1 && x[1] == -2);
	free(x);
	assert_null(safetensors_floats(s, "h", 3, &e));
	assert_int_equal(e.code, EXIT_INPUT);
	assert_null(safetensors_floats(s, "x", 3, &e));
	assert_null(safetensors_floats(s, "bool", 1, &e));
	assert_non_null(strstr(e.text, "BOOL"));
	safetensors_close(s);
	safetensors_close(NULL);
	buffer_free(&b);
}

static void canonical_bytes(void **state)
{
	static const float x[3] = { 1, -2, 65536 };
	static const uint8_t u[2] = { 7, 8 };
	const struct safetensors_out out[] = {
		{ "u", DTYPE_U8, 1, { 2 }, u, false }, { "z", DTYPE_F16, 2, { 1, 3 }, x, true },
		{ "b", DTYPE_BF16, 1, { 3 }, x, true }, { "y", DTYPE_F32, 1, { 3 }, x, true },
		{ "a", DTYPE_F32, 0, { 0 }, x, false }, { "e", DTYPE_F32, 2, { 0, 5 }, NULL, false },
	};
	const struct metadata metadata[] = { { "z", "\"\n\xc3\xa4" }, { "a", "b" } };
	static const char header[] = "{\"__metadata__\":{\"z\":\"\\\"\\n\xc3\xa4\",\"a\":\"b\"},"
		"\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},\"e\":{\"dtype\":\"F32\",\"shape\":[0,"
		"5],\"data_offsets\":[4,4]},\"y\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[4,16]},"
		"\"b\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[16,22]},\"z\":{\"dtype\":\"F16\","
		"\"shape\":[1,3],\"data_offsets\":[22,28]},\"u\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[28,"
		"30]}}";
	size_t padded = (sizeof(header) - 1 + 7) / 8 * 8;
	struct buffer b = { 0 }, expected = { 0 };

	add_length(&expected, padded);
	buffer_add(&expected, header, sizeof(header) - 1);
	while (expected.len % 8)
		buffer_adds(&expected, " ");
	buffer_add(&expected, x, 4);
	buffer_add(&expected, x, 12);
	buffer_add(&expected, "\x80\x3f\x00\xc0\x80\x47", 6);
	buffer_add(&expected, "\x00\x3c\x00\xc0\x00\x7c", 6);
	buffer_add(&expected, u, 2);
	safetensors_serialize(&b, out, 6, metadata, 2);
	assert_int_equal(b.len, expected.len);
	assert_memory_equal(b.data, expected.data, b.len);
	assert_memory_equal(b.data + 8, "{\"", 2);
	check_bytes(b.data, b.len, NULL);
	buffer_clear(&b);
	safetensors_serialize(&b, NULL, 0, NULL, 0);
	check_bytes(b.data, b.len, NULL);
	buffer_free(&b);
	buffer_free(&expected);
}

static void order_given(void **state)
{
	const struct safetensors_out out[] = { { "b", DTYPE_U8, 1, { 2 } }, { "a", DTYPE_F32, 1, { 1 } } };
	struct buffer b = { 0 };

	safetensors_header(&b, out, 2, NULL, 0);
	assert_int_equal(b.len % 8, 0);
	assert_int_equal(strncmp(b.data + 8, "{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
					     "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}", 100),
					     0);
	buffer_add(&b, "123456", 6);
	check_bytes(b.data, b.len, NULL);
	buffer_free(&b);
}

/* More than one piece of conversion, and the same bytes by file and in memory. */
static void saved_file(void **state)
{
	enum { N = 40001 };
	char path[] = "/tmp/safetensors-test-XXXXXX";
	float *x = malloc(N * sizeof(*x)), *back;
	struct safetensors_out out = { "x", DTYPE_BF16, 1, { N }, x, true };
	struct error e = { 0 };
	struct buffer memory = { 0 }, file = { 0 };
	struct safetensors *s;

	close(mkstemp(path));
	for (int i = 0; i < N; i++)
		x[i] = (float)(i % 256 - 128);
	assert_int_equal(safetensors_save(path, &out, 1, NULL, 0, &e), 0);
	safetensors_serialize(&memory, &out, 1, NULL, 0);
	assert_int_equal(read_file(path, 1000000, &file, &e), 0);
	assert_int_equal(file.len, memory.len);
	assert_memory_equal(file.data, memory.data, file.len);
	s = safetensors_open(path, &e);
	assert_string_equal(e.text, "");
	back = safetensors_floats(s, "x", N, &e);
	assert_memory_equal(back, x, N * sizeof(*x));
	free(back);
	safetensors_close(s);
	assert_int_equal(truncate(path, 5000), 0);
	assert_null(safetensors_open(path, &e));
	assert_non_null(strstr(e.text, "download incomplete"));
	assert_int_equal(truncate(path, 0), 0);
	assert_null(safetensors_open(path, &e));
	assert_int_equal(e.code, EXIT_INPUT);
	unlink(path);
	assert_null(safetensors_open(path, &e));
	assert_int_equal(e.code, EXIT_INPUT);
	assert_null(safetensors_open("/tmp", &e));
	assert_int_equal(e.code, EXIT_INPUT);
	assert_null(safetensors_open("/dev/null", &e));
	assert_int_equal(e.code, EXIT_INPUT);
	assert_int_equal(safetensors_save("/dev/full", &out, 1, NULL, 0, &e), -1);
	assert_int_equal(e.code, EXIT_IO);
	buffer_free(&memory);
	buffer_free(&file);
	free(x);
}

/* ---- headers made to cost much: 100 MB within 2 s and 4 times their size ---- */

static void many_tensors(struct buffer *b, size_t limit)
{
	/* from the last to the first, so that they must be sorted */
	for (int i = 0; b->len < limit; i++)
		buffer_addf(b, "%c\"%x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? ',' : '{',
			    0xffffff - i);
}

static void just_few_enough_tensors(struct buffer *b, size_t limit)
{
	for (int i = 0; i < 499999; i++)
		buffer_addf(b, "%c\"%0140x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? ',' : '{',
			    0xffffff - i);
}

static void much_metadata(struct buffer *b, size_t limit)
{
	buffer_adds(b, "{\"__metadata__\":");
	for (int i = 0; b->len < limit; i++)
		buffer_addf(b, "%c\"%x\":\"\"", i ? ',' : '{', i);
	buffer_adds(b, "}");
}

static void deep_nesting(struct buffer *b, size_t limit)
{
	buffer_adds(b, "{\"a\":{\"x\":");
	while (b->len < limit)
		buffer_adds(b, "[[[[[[[[");
}

static void one_long_name(struct buffer *b, size_t limit)
{
	buffer_adds(b, "{\"");
	while (b->len < limit)
		buffer_adds(b, "\\u0061aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	buffer_adds(b, "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}");
}

static void only_space(struct buffer *b, size_t limit)
{
	while (b->len < limit)
		buffer_adds(b, "                                                                ");
	buffer_adds(b, "{");
}

static void write_bomb(const char *path, void (*bomb)(struct buffer *b, size_t limit))
{
	struct buffer text = { 0 }, length = { 0 };
	FILE *f = fopen(path, "w");

	bomb(&text, SAFETENSORS_MAX_HEADER - 200);
	buffer_adds(&text, "}");
	add_length(&length, text.len);
	fwrite(length.data, 1, length.len, f);
	fwrite(text.data, 1, text.len, f);
	_exit(fclose(f) || text.len > SAFETENSORS_MAX_HEADER);
}

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double peak_bytes(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return 1024.0 * (double)usage.ru_maxrss;
}

static void open_bomb(const char *path)
{
	double bytes = peak_bytes(), seconds = cpu_seconds(), size;
	struct error e = { 0 };
	struct stat st;

	safetensors_close(safetensors_open(path, &e));
	seconds = cpu_seconds() - seconds;
	bytes = peak_bytes() - bytes;
	stat(path, &st);
	size = (double)st.st_size;
	if (getenv("VERBOSE"))
		fprintf(stderr, "%.2f s, %.2f times its size: %s\n", seconds, bytes / size, e.text);
	_exit(seconds > 2 * SLOWER ? 1 : bytes > 4 * size * SLOWER ? 2 : 0);
}

/* Written and read in two children: the peak of memory is a property of a process. */
static void bombs(void **state)
{
	static void (*const bomb[])(struct buffer *b, size_t limit) = {
		many_tensors, just_few_enough_tensors, much_metadata, deep_nesting, one_long_name, only_space,
	};

	for (size_t i = 0; i < sizeof(bomb) / sizeof(*bomb); i++) {
		char path[] = "/tmp/safetensors-test-XXXXXX";
		int status;

		close(mkstemp(path));
		if (!fork())
			write_bomb(path, bomb[i]);
		wait(&status);
		assert_int_equal(status, 0);
		if (!fork())
			open_bomb(path);
		wait(&status);
		unlink(path);
		assert_int_equal(status, 0);
	}
}

/* Nobody will ever write into it: a run that looks for its states must not wait for that. */
static void pipe_without_writer(void **state)
{
	char folder[] = "/tmp/safetensorsXXXXXX", *path;
	struct error e = { 0 };

	assert_non_null(mkdtemp(folder));
	path = xprintf("%s/fifo", folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	alarm(10);
	assert_null(safetensors_open(path, &e));
	alarm(0);
	assert_non_null(strstr(e.text, "is not a plain file"));
	unlink(path);
	rmdir(folder);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pipe_without_writer),
		cmocka_unit_test(case_matrix),
		cmocka_unit_test(cut_and_flipped),
		cmocka_unit_test(length_of_header),
		cmocka_unit_test(other_kinds_of_files),
		cmocka_unit_test(polyglot),
		cmocka_unit_test(reading),
		cmocka_unit_test(canonical_bytes),
		cmocka_unit_test(order_given),
		cmocka_unit_test(saved_file),
		cmocka_unit_test(bombs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
