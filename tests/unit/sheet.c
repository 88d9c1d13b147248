/* Sheets: where pictures land, whole factors, labels that stay inside. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/sample/label.h"
#include "../../libcommon/sample/sheet.h"
#include <cmocka.h>     /* last: it takes the name fail */

static const uint8_t white[3] = { 255, 255, 255 };

static struct image filled(int w, int h, uint8_t r, uint8_t g, uint8_t b)
{
	struct image p = { w, h, xmalloc((size_t)w * h * 3) };

	for (int i = 0; i < w * h; i++) {
		p.rgb[3 * i] = r;
		p.rgb[3 * i + 1] = g;
		p.rgb[3 * i + 2] = b;
	}
	return p;
}

static size_t count(const struct image *p, uint8_t r, uint8_t g, uint8_t b)
{
	size_t n = 0;

	for (int i = 0; i < p->width * p->height; i++)
		n += p->rgb[3 * i] == r && p->rgb[3 * i + 1] == g && p->rgb[3 * i + 2] == b;
	return n;
}

static void every_pixel_lands_enlarged_by_a_whole_factor(void **state)
{
	struct image red = filled(64, 64, 250, 0, 0), green = filled(64, 64, 0, 250, 0), sheet;
	const struct sheet_cell cells[4] = { { &red, "one" }, { &green, "two" }, { &green, NULL }, { NULL, "empty" } };

	sheet_make(&sheet, &(struct sheet){ cells, 2, 2, 0, NULL });
	assert_int_equal(count(&sheet, 250, 0, 0), 64 * 64 * 4);        /* twice as large: 128 pixels hold a label */
	assert_int_equal(count(&sheet, 0, 250, 0), 2 * 64 * 64 * 4);
	image_free(&sheet);
	image_free(&red);
	image_free(&green);
}

static void large_pictures_stay_as_they_are(void **state)
{
	struct image p = filled(200, 130, 9, 8, 7), sheet;
	const struct sheet_cell cell = { &p, "label" };
	const char *const row[1] = { "row" };

	sheet_make(&sheet, &(struct sheet){ &cell, 1, 1, 0, row });
	assert_int_equal(count(&sheet, 9, 8, 7), 200 * 130);
	assert_true(sheet.width >= 200 && sheet.height >= 130);
	image_free(&sheet);
	image_free(&p);
}

static void pictures_of_several_sizes_share_a_sheet(void **state)
{
	struct image wide = filled(160, 96, 1, 200, 1), tall = filled(96, 160, 1, 1, 200), sheet;
	const struct sheet_cell cells[2] = { { &wide, "wide" }, { &tall, "tall" } };

	sheet_make(&sheet, &(struct sheet){ cells, 1, 2, 0, NULL });
	assert_int_equal(count(&sheet, 1, 200, 1), 160 * 96);
	assert_int_equal(count(&sheet, 1, 1, 200), 160 * 96);
	image_free(&sheet);
	image_free(&wide);
	image_free(&tall);
}

/* Where pictures of one colour begin, for a sheet of n of them. */
static struct image sheet_of(struct image *p, size_t rows, size_t n, size_t together)
{
	struct sheet_cell *cells = xcalloc(rows * n, sizeof(*cells));
	struct image sheet;

	for (size_t i = 0; i < rows * n; i++)
		cells[i].picture = p;
	sheet_make(&sheet, &(struct sheet){ cells, rows, n, together, NULL });
	free(cells);
	return sheet;
}

/* 8 pixels of gap, the picture, and so on; without labels a row is as high as its picture and a gap */
static void rows_are_continued_below(void **state)
{
	static const struct { int w; size_t rows, n, together; int beside, bands; } cases[] = {
		{ 128, 1, 6, 1, 6, 1 }, { 128, 1, 9, 1, 5, 2 }, { 128, 2, 20, 1, 7, 3 }, { 128, 1, 12, 5, 5, 3 },
		{ 128, 1, 20, 10, 7, 3 }, { 1024, 1, 4, 1, 4, 1 }, { 1024, 2, 6, 1, 3, 2 }, { 1024, 1, 12, 3, 3, 4 },
		{ 5000, 1, 3, 1, 1, 3 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct image p = filled(cases[i].w, 30, 250, 0, 0), sheet = sheet_of(&p, cases[i].rows, cases[i].n,
			cases[i].together);

		assert_int_equal(sheet.width, 8 + cases[i].beside * (cases[i].w + 8));
		assert_int_equal(sheet.height, 8 + cases[i].bands * (int)cases[i].rows * 38);
		assert_int_equal(count(&sheet, 250, 0, 0), cases[i].rows * cases[i].n * cases[i].w * 30);
		image_free(&sheet);
		image_free(&p);
	}
}

static void a_sheet_that_nobody_can_open_is_told_before(void **state)
{
	assert_true(sheet_fits(&(struct sheet){ .rows = 1, .columns = 200 }, 1024, 1024));
	assert_false(sheet_fits(&(struct sheet){ .rows = 1, .columns = 300 }, 1024, 1024));
	assert_false(sheet_fits(&(struct sheet){ .rows = 20, .columns = 20 }, 1024, 1024));
	assert_false(sheet_fits(&(struct sheet){ .rows = 1, .columns = 1 }, 65535, 64));
}

/* What is drawn for the text, in so many lines of 100 pixels. */
static struct image drawn(const char *text, int lines, int *height)
{
	struct image p = filled(100, 60, 0, 0, 0);

	*height = label_draw(&p, 0, 0, text, 100, lines, white);
	assert_int_equal(label_draw(NULL, 0, 0, text, 100, lines, white), *height);
	return p;
}

static void same_or_not(const char *a, const char *b, int lines, bool same)
{
	int ha, hb;
	struct image p = drawn(a, lines, &ha), q = drawn(b, lines, &hb);

	assert_int_equal(memcmp(p.rgb, q.rgb, 100 * 60 * 3) == 0, same);
	image_free(&p);
	image_free(&q);
}

static void labels_break_at_spaces_and_line_ends(void **state)
{
	int height;
	struct image p = drawn("one two three four\nseed 5", 6, &height);

	assert_int_equal(height, 30);           /* 16 characters a line */
	image_free(&p);
	same_or_not("one two three four\nseed 5", "one two three\nfour\nseed 5", 6, true);
	same_or_not("abcdefghijklmnopqrst", "abcdefghijklmnop\nqrst", 6, true);
	same_or_not("one two three four five six", "one two three...", 1, true);
	same_or_not("abcdefghijklmnopqrst", "abcdefghijklm...", 1, true);
	same_or_not("seed 5\n", "seed 5", 1, true);
}

/* fontconfig keeps what it has read of its configuration, and tells nobody. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libfontconfig";
}

/* In the system's fonts or spelled: two texts never look alike, and nothing is left out. */
static void labels_hold_any_script(void **state)
{
	static const char *const texts[] = { "\xd0\xba\xd0\xbe\xd1\x82", "\xd0\xba\xd0\xb8\xd1\x82", "\xe7\x8c\xab",
					     "\xe7\x8a\xac", "\xf0\x9f\xa4\x96", "\xff", "\xfe" };
	const size_t n = sizeof(texts) / sizeof(texts[0]);

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++)
			same_or_not(texts[i], texts[k], 2, i == k);
	same_or_not("\xff\xe7\x8c\xab", "\\xff\\u732b", 2, true);     /* no UTF-8: spelled whatever fonts there are */
}

/* A label of any length writes inside the sheet (ASan sees what does not) and not over the pictures. */
static void labels_of_any_length(void **state)
{
	struct image p = filled(64, 64, 250, 0, 0), sheet;

	for (size_t n = 0; n < 600; n += 37) {
		char *text = xcalloc(1, n + 1);
		struct sheet_cell cells[2];

		memset(text, n % 2 ? 'W' : ' ', n);
		cells[0] = cells[1] = (struct sheet_cell){ &p, text };
		sheet_make(&sheet, &(struct sheet){ cells, 1, 2, 0, NULL });
		assert_int_equal(count(&sheet, 250, 0, 0), 2 * 64 * 64 * 4);
		image_free(&sheet);
		free(text);
	}
	image_free(&p);
}

static void the_same_sheet_twice(void **state)
{
	struct image p = filled(64, 48, 30, 60, 90), a, b;
	const struct sheet_cell cell = { &p, "a robot on a green background, standing" };

	sheet_make(&a, &(struct sheet){ &cell, 1, 1, 0, NULL });
	sheet_make(&b, &(struct sheet){ &cell, 1, 1, 0, NULL });
	assert_int_equal(a.width * a.height, b.width * b.height);
	assert_memory_equal(a.rgb, b.rgb, (size_t)a.width * a.height * 3);
	image_free(&a);
	image_free(&b);
	image_free(&p);
}

static void text_is_clipped_and_utf8_counts_once(void **state)
{
	struct image p = filled(20, 9, 0, 0, 0), q = filled(20, 9, 0, 0, 0);
	size_t i;

	text_draw(&p, -3, -2, "clipped on all sides", white);
	text_draw(&p, 18, 7, "x", white);
	memset(p.rgb, 0, 20 * 9 * 3);
	text_draw(&p, 1, 1, "\xc3\xa9i", white);        /* e with an accent is one question mark */
	text_draw(&q, 1, 1, "?i", white);
	assert_memory_equal(p.rgb, q.rgb, 20 * 9 * 3);
	for (i = 0; i < 20 * 9 * 3 && !p.rgb[i]; i++)
		;
	assert_true(i < 20 * 9 * 3);
	image_free(&p);
	image_free(&q);
}

static void every_printable_character_is_different(void **state)
{
	static uint8_t seen[95][9 * 6 * 3];

	for (int c = ' '; c <= '~'; c++) {
		struct image p = filled(6, 9, 0, 0, 0);
		const char text[2] = { c, 0 };

		text_draw(&p, 0, 0, text, white);
		memcpy(seen[c - ' '], p.rgb, sizeof(seen[0]));
		image_free(&p);
		for (int d = ' '; d < c; d++)
			assert_memory_not_equal(seen[d - ' '], seen[c - ' '], sizeof(seen[0]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_pixel_lands_enlarged_by_a_whole_factor),
		cmocka_unit_test(large_pictures_stay_as_they_are),
		cmocka_unit_test(pictures_of_several_sizes_share_a_sheet), cmocka_unit_test(labels_of_any_length),
		cmocka_unit_test(the_same_sheet_twice), cmocka_unit_test(text_is_clipped_and_utf8_counts_once),
		cmocka_unit_test(every_printable_character_is_different), cmocka_unit_test(rows_are_continued_below),
		cmocka_unit_test(a_sheet_that_nobody_can_open_is_told_before),
		cmocka_unit_test(labels_break_at_spaces_and_line_ends), cmocka_unit_test(labels_hold_any_script),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
