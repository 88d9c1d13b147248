/* JSON out: exact texts, and numbers that read back; JSON in: what is refused, and where it says the trouble is. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#undef fail     /* cmocka's macro; the library has a function of that name */
#include "../../libcommon/io/json.h"

static void structure(void **state)
{
	struct json_out j = { 0 };

	json_begin(&j, NULL);
	json_text(&j, "event", "step");
	json_begin_array(&j, "size");
	json_int(&j, NULL, 3);
	json_int(&j, NULL, -4);
	json_begin(&j, NULL);
	json_end(&j);
	json_begin_array(&j, NULL);
	json_end_array(&j);
	json_end_array(&j);
	json_begin(&j, "in");
	json_bool(&j, "yes", true);
	json_bool(&j, "no", false);
	json_none(&j, "none");
	json_text(&j, "null", NULL);
	json_end(&j);
	json_big(&j, "big", UINT64_MAX);
	json_raw(&j, "raw", "[1]");
	json_end(&j);
	assert_string_equal(j.text.data, "{\"event\":\"step\",\"size\":[3,-4,{},[]],\"in\":{\"yes\":true,\"no\":false,"
			    "\"none\":null,\"null\":null},\"big\":\"18446744073709551615\",\"raw\":[1]}");
	json_free(&j);
}

static void strings(void **state)
{
	static const struct { const char *in; size_t n; const char *out; } cases[] = {
		{ "", 0, "\"\"" }, { "a\"b\\c/", 6, "\"a\\\"b\\\\c/\"" },
		{ "\b\t\n\f\r\x01\x1f\x7f", 8, "\"\\b\\t\\n\\f\\r\\u0001\\u001f\\u007f\"" },
		{ "a\0b", 3, "\"a\\u0000b\"" },
		{ "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"" },
		/* what commands a terminal or turns the writing: CSI of C1, right to left, isolates */
		{ "\xc2\x9b[31m", 6, "\"\\u009b[31m\"" }, { "a\xe2\x80\xae" "b", 5, "\"a\\u202eb\"" },
		{ "\xe2\x81\xa6\xd8\x9c", 5, "\"\\u2066\\u061c\"" },
		{ "\xc2\xa0\xe2\x80\x90\xd9\x85", 7, "\"\xc2\xa0\xe2\x80\x90\xd9\x85\"" },
		{ "\xff" "a", 2, "\"\xef\xbf\xbd" "a\"" },                              /* no such byte */
		{ "\xc0\x80", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },                      /* overlong */
		{ "\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },      /* surrogate */
		{ "\xf4\x90\x80\x80", 4, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xe2\x82", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },                      /* cut off */
		{ "\xe2\x82" "a", 3, "\"\xef\xbf\xbd\xef\xbf\xbd" "a\"" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct json_out j = { 0 };
		struct error e = { 0 };
		json_t *back;

		json_text_n(&j, NULL, cases[i].in, cases[i].n);
		assert_string_equal(j.text.data, cases[i].out);
		json_free(&j);
		json_begin(&j, NULL);
		json_text_n(&j, cases[i].n > 1 && cases[i].in[1] ? cases[i].in : "k", cases[i].in, cases[i].n);
		json_end(&j);
		if (!memchr(cases[i].in, 0, cases[i].n)) {      /* our own reader refuses NUL */
			back = json_parse("x", j.text.data, j.text.len, &e);
			assert_non_null(back);
			json_decref(back);
		}
		json_free(&j);
	}
}

static const char *number(struct json_out *j, double value, bool as_float)
{
	buffer_clear(&j->text);
	j->comma = false;
	if (as_float)
		json_float(j, NULL, (float)value);
	else
		json_number(j, NULL, value);
	return j->text.data;
}

static void number_texts(void **state)
{
	static const struct { double value; const char *as_double, *as_float; } cases[] = {
		{ 0, "0", "0" }, { -0.0, "-0", "-0" }, { 20, "20", "20" }, { 1e-4, "0.0001", "0.0001" },
		{ 0.1, "0.1", "0.1" }, { 1e-5, "1e-05", "1e-05" }, { 1500000, "1500000", "1500000" },
		{ 1e300, "1e+300", "null" }, { 1.0 / 3, "0.3333333333333333", "0.33333334" },
		{ 0.1f, "0.10000000149011612", "0.1" }, { NAN, "null", "null" }, { INFINITY, "null", "null" },
		{ -INFINITY, "null", "null" }, { 5e-324, "5e-324", "0" },
		{ 9007199254740992, "9007199254740992", "9007199254740992" }, { -123.25, "-123.25", "-123.25" },
		{ 1.7976931348623157e308, "1.7976931348623157e+308", "null" },
	};
	struct json_out j = { 0 };

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_string_equal(number(&j, cases[i].value, false), cases[i].as_double);
		assert_string_equal(number(&j, cases[i].value, true), cases[i].as_float);
	}
	json_free(&j);
}

/* Every number reads back as itself, and with one digit less it would not. */
static void numbers_read_back(void **state)
{
	struct json_out j = { 0 };
	uint64_t bits = 1;

	for (int i = 0; i < 20000; i++) {
		double value, shorter;
		float single;
		char text[320];         /* as long as a double can be without an exponent: gcc asks for it */
		int digits = 0;

		bits = bits * 6364136223846793005u + 1442695040888963407u;
		memcpy(&value, &bits, 8);
		memcpy(&single, (char *)&bits + 4, 4);
		if (isfinite(value)) {
			assert_true(strtod(number(&j, value, false), NULL) == value);
			for (const char *p = j.text.data; *p && *p != 'e'; p++)
				digits += *p >= '0' && *p <= '9';
			snprintf(text, sizeof(text), "%.*g", digits > 1 ? digits - 1 : 1, value);
			shorter = strtod(text, NULL);
			assert_true(digits == 1 || fabs(value) <= 0x1p53 || shorter != value);
		}
		if (isfinite(single))
			assert_true(strtof(number(&j, single, true), NULL) == single);
	}
	json_free(&j);
}

static void line_is_one_write(void **state)
{
	struct json_out j = { 0 };
	struct error e = { 0 };
	char got[100];
	int ends[2];

	/* A packet pipe keeps each write apart. */
	assert_int_equal(pipe2(ends, O_DIRECT), 0);
	json_begin(&j, NULL);
	json_int(&j, "a", 1);
	json_end(&j);
	assert_int_equal(json_line(&j, ends[1], &e), 0);
	assert_int_equal(j.text.len, 0);
	json_begin(&j, NULL);
	json_end(&j);
	assert_int_equal(json_line(&j, -1, &e), 0);
	json_begin(&j, NULL);
	json_end(&j);
	assert_int_equal(json_line(&j, ends[1], &e), 0);
	assert_int_equal(read(ends[0], got, sizeof(got)), 8);
	assert_memory_equal(got, "{\"a\":1}\n", 8);
	assert_int_equal(read(ends[0], got, sizeof(got)), 3);
	assert_memory_equal(got, "{}\n", 3);
	close(ends[0]);
	signal(SIGPIPE, SIG_IGN);
	json_begin(&j, NULL);
	json_end(&j);
	assert_int_equal(json_line(&j, ends[1], &e), -1);
	assert_int_equal(e.code, EXIT_IO);
	assert_int_equal(j.text.len, 0);
	close(ends[1]);
	json_free(&j);
}

static void repeat(struct buffer *b, const char *text, int n)
{
	for (int i = 0; i < n; i++)
		buffer_adds(b, text);
}

static void accepted(void **state)
{
	static const char *const cases[] = {
		"{}", "[]", " {\"a\": [1, 2.5e3, true, null, \"\\u00e4\"]}\n", "{\"a\":{\"a\":1}}", "[\"[[[\\\"[[[\"]",
		"[9223372036854775807]",
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct error e = { 0 };
		json_t *value = json_parse("x", cases[i], strlen(cases[i]), &e);

		assert_string_equal(e.text, "");
		assert_non_null(value);
		json_decref(value);
	}
}

static void refused(void **state)
{
	static const struct { const char *text; size_t n; } cases[] = {
		{ "", 0 }, { "{", 1 }, { "{\"a\":1,\"a\":1}", 13 }, { "{\"a\":1,\"\\u0061\":1}", 18 },
		{ "[\"\\u0000\"]", 10 }, { "[\"a\0b\"]", 7 }, { "[1]\0", 4 }, { "[1] x", 5 }, { "[01]", 4 },
		{ "[1,]", 4 }, { "[NaN]", 5 }, { "['a']", 5 }, { "[9223372036854775808]", 21 }, { "[1e999]", 7 },
		{ "[\"\xff\"]", 5 }, { "[\"\\ud800\"]", 10 }, { "\"a\"", 3 }, { "[\"\n\"]", 5 }, { "[\"\\", 3 },
	};
	struct error e = { 0 };

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_null(json_parse("x", cases[i].text, cases[i].n, &e));
		assert_int_equal(e.code, EXIT_INPUT);
	}
	assert_null(json_parse("file.json", "{\n\n  x", 6, &e));
	assert_int_equal(strncmp(e.text, "file.json:3: ", 13), 0);
}

static void depth(void **state)
{
	for (int deep = 63; deep <= 66; deep++) {
		struct buffer b = { 0 };
		struct error e = { 0 };
		json_t *value;

		repeat(&b, "[", deep);
		repeat(&b, "]", deep);
		value = json_parse("x", b.data, b.len, &e);
		assert_true(!value == (deep > 64));
		json_decref(value);
		buffer_free(&b);
	}
}

static void reading(void **state)
{
	char path[] = "/tmp/json-test-XXXXXX";
	struct error e = { 0 };
	int fd = mkstemp(path);
	json_t *value;

	assert_int_equal(write(fd, "{\"a\":7}", 7), 7);
	close(fd);
	value = json_read(path, 7, &e);
	assert_int_equal(json_integer_value(json_object_get(value, "a")), 7);
	json_decref(value);
	assert_null(json_read(path, 6, &e));
	assert_int_equal(e.code, EXIT_INPUT);
	unlink(path);
	assert_null(json_read(path, 6, &e));
	assert_int_equal(e.code, EXIT_INPUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(structure),
		cmocka_unit_test(strings),
		cmocka_unit_test(number_texts),
		cmocka_unit_test(numbers_read_back),
		cmocka_unit_test(line_is_one_write),
		cmocka_unit_test(accepted),
		cmocka_unit_test(refused),
		cmocka_unit_test(depth),
		cmocka_unit_test(reading),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
