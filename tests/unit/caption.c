/* One clean line of UTF-8 out of whatever editors write, and the places where captions are looked for. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/data/caption.h"
#include "../../libcommon/io/publish.h"
#include <cmocka.h>

/* say NULL: clean is what comes out; else a piece of the complaint. */
static const struct { const char *bytes; size_t n; const char *clean; bool more; const char *say; } cases[] = {
#define TEXT(s) s, sizeof(s) - 1
	{ TEXT("a robot"), "a robot", false, NULL },
	{ TEXT(""), "", false, NULL },
	{ TEXT("a robot\n"), "a robot", false, NULL },
	{ TEXT("a robot\r\n"), "a robot", false, NULL },
	{ TEXT("  a\trobot \t\n\n \n"), "a\trobot", false, NULL },
	{ TEXT("one\ntwo"), "one", true, NULL },
	{ TEXT("one\r\n\r\n two\r\n"), "one", true, NULL },
	{ TEXT("\nlate"), "", true, NULL },
	{ TEXT("\xef\xbb\xbf" "a robot"), "a robot", false, NULL },
	{ TEXT("\xef\xbb\xbf"), "", false, NULL },
	{ TEXT("caf\xc3\xa9"), "caf\xc3\xa9", false, NULL },
	{ TEXT("cafe\xcc\x81"), "cafe\xcc\x81", false, NULL },         /* NFD stays as it is */
	{ TEXT("\xf0\x9f\xa4\x96 robot"), "\xf0\x9f\xa4\x96 robot", false, NULL },
	{ TEXT("\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"), "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", false, NULL },
	{ TEXT("caf\xe9"), NULL, false, "byte 3 " },                    /* Latin-1 */
	{ TEXT("ab\x80"), NULL, false, "byte 2 " },
	{ TEXT("a\xc0\xaf"), NULL, false, "byte 1 " },                  /* overlong */
	{ TEXT("a\xc1\xbf"), NULL, false, "byte 1 " },
	{ TEXT("a\xe0\x9f\xbf"), NULL, false, "byte 1 " },
	{ TEXT("a\xf0\x8f\xbf\xbf"), NULL, false, "byte 1 " },
	{ TEXT("abc\xed\xa0\x80"), NULL, false, "byte 3 " },            /* surrogate */
	{ TEXT("\xf4\x90\x80\x80"), NULL, false, "byte 0 " },           /* above U+10FFFF */
	{ TEXT("\xf8\x88\x80\x80\x80"), NULL, false, "byte 0 " },
	{ TEXT("a\xe2\x82"), NULL, false, "byte 1 " },                  /* cut off */
	{ TEXT("good\nb\xff" "d"), NULL, false, "byte 6 " },            /* not only in the line that is used */
	{ TEXT("\xff\xfe" "a\0"), NULL, false, "UTF-16" },
	{ TEXT("\xfe\xff\0a"), NULL, false, "UTF-16" },
	{ TEXT("a\0b"), NULL, false, "NUL at byte 1 " },
};

static void cleaning(void **state)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error e = { 0 };
		struct caption c;
		int status = caption_clean("x.txt", cases[i].bytes, cases[i].n, &c, &e);
		if (cases[i].say) {
			assert_int_equal(status, -1);
			assert_int_equal(e.code, EXIT_INPUT);
			assert_non_null(strstr(e.text, cases[i].say));
			assert_non_null(strstr(e.text, "x.txt: "));
			continue;
		}
		assert_int_equal(status, 0);
		assert_string_equal(c.text, cases[i].clean);
		assert_int_equal(c.more_lines, cases[i].more);
		free(c.text);
	}
}

/* For wildcards: every line that is not empty. */
static void lines(void **state)
{
	static const struct { const char *bytes; size_t n; const char *text; } rows[] = {
		{ TEXT("one"), "one" }, { TEXT("one\r\n\r\n two \n"), "one\ntwo" }, { TEXT(" \n\n"), "" },
		{ TEXT(""), "" },
		{ TEXT("\xef\xbb\xbf" "a\nb\nc"), "a\nb\nc" },
	};
	struct error e = { 0 };
	struct caption c;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(caption_clean_lines("x.txt", rows[i].bytes, rows[i].n, &c, &e), 0);
		assert_string_equal(c.text, rows[i].text);
		assert_false(c.more_lines);
		free(c.text);
	}
	assert_int_equal(caption_clean_lines("x.txt", "a\nb\xff", 4, &c, &e), -1);
	assert_non_null(strstr(e.text, "byte 3 "));
}

static void cap(void **state)
{
	struct error e = { 0 };
	struct caption c;
	char *big = xmalloc(CAPTION_CAP + 1);

	memset(big, 'x', CAPTION_CAP + 1);
	assert_int_equal(caption_clean("x.txt", big, CAPTION_CAP, &c, &e), 0);
	free(c.text);
	assert_int_equal(caption_clean("x.txt", big, CAPTION_CAP + 1, &c, &e), -1);
	free(big);
}

static char folder[] = "/tmp/caption.XXXXXX";

static void put(const char *name, const char *text)
{
	struct error e;
	char *path = path_join(folder, name);

	assert_int_equal(publish_bytes(path, text, strlen(text), &e), 0);
	free(path);
}

static void expect(const struct caption_rules *rules, const char *picture, const char *tokens, const char *text,
		   enum caption_source source)
{
	struct error e = { 0 };
	struct caption c;
	char *path = path_join(folder, picture);

	assert_int_equal(caption_find(rules, path, tokens, &c, &e), 0);
	assert_string_equal(c.text, text);
	assert_int_equal(c.source, source);
	free(c.text);
	free(path);
}

static void places(void **state)
{
	const struct caption_rules usual = { 0 }, tags = { .extension = "tags" },
				   dressed = { .prefix = "photo of", .suffix = "outdoors" };
	const struct caption_rules words = { .class_tokens = "gizmo" };

	put("a.txt", "from txt");
	put("a.caption", "from caption");
	put("b.caption", "only caption");
	put("a.tags", "from tags");
	put("empty.txt", " \n");
	put("v1.5.txt", "dotted");
	expect(&usual, "a.png", "tokens", "from txt", CAPTION_FILE);
	expect(&usual, "b.jpg", "tokens", "only caption", CAPTION_FILE);
	expect(&usual, "c.jpg", "tokens", "tokens", CAPTION_CLASS);
	expect(&usual, "c.jpg", NULL, "", CAPTION_NONE);
	expect(&usual, "empty.png", "tokens", "tokens", CAPTION_CLASS);
	expect(&usual, "v1.5.png", NULL, "dotted", CAPTION_FILE);
	expect(&usual, "a", NULL, "from txt", CAPTION_FILE);
	expect(&usual, "b_1_20_30_40.png", "tokens", "only caption", CAPTION_FILE);
	expect(&usual, "b_20_30_40.png", "tokens", "tokens", CAPTION_CLASS);
	expect(&usual, "_1_20_30_40.png", "tokens", "tokens", CAPTION_CLASS);
	put("a_1_2_3_4.caption", "of its own");
	expect(&usual, "a_1_2_3_4.png", NULL, "of its own", CAPTION_FILE);
	expect(&tags, "a.png", NULL, "from tags", CAPTION_FILE);
	expect(&tags, "b.png", "tokens", "tokens", CAPTION_CLASS);
	expect(&words, "b.png", "tokens", "only caption", CAPTION_FILE);
	expect(&words, "c.png", "tokens", "gizmo", CAPTION_CLASS);
	expect(&dressed, "a.png", NULL, "photo of from txt outdoors", CAPTION_FILE);
	expect(&dressed, "c.png", "robot", "photo of robot outdoors", CAPTION_CLASS);
}

static void bad_tokens(void **state)
{
	const struct caption_rules usual = { 0 };
	struct error e = { 0 };
	struct caption c;

	assert_int_equal(caption_find(&usual, "nowhere/x.png", "caf\xe9", &c, &e), -1);
	assert_non_null(strstr(e.text, "byte 3 "));
}

static int make_folder(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	static const char *const names[] = { "a.txt", "a.caption", "b.caption", "a.tags", "empty.txt", "v1.5.txt",
					     "a_1_2_3_4.caption" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *path = path_join(folder, names[i]);
		unlink(path);
		free(path);
	}
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(cleaning), cmocka_unit_test(cap), cmocka_unit_test(lines),
					    cmocka_unit_test(places), cmocka_unit_test(bad_tokens) };
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
