/* Sheets: where pictures land, whole factors, labels that stay inside. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
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

	sheet_make(&sheet, cells, 2, 2, NULL);
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

	sheet_make(&sheet, &cell, 1, 1, row);
	assert_int_equal(count(&sheet, 9, 8, 7), 200 * 130);
	assert_true(sheet.width >= 200 && sheet.height >= 130);
	image_free(&sheet);
	image_free(&p);
}

static void pictures_of_several_sizes_share_a_sheet(void **state)
{
	struct image wide = filled(160, 96, 1, 200, 1), tall = filled(96, 160, 1, 1, 200), sheet;
	const struct sheet_cell cells[2] = { { &wide, "wide" }, { &tall, "tall" } };

	sheet_make(&sheet, cells, 1, 2, NULL);
	assert_int_equal(count(&sheet, 1, 200, 1), 160 * 96);
	assert_int_equal(count(&sheet, 1, 1, 200), 160 * 96);
	image_free(&sheet);
	image_free(&wide);
	image_free(&tall);
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
		sheet_make(&sheet, cells, 1, 2, NULL);
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

	sheet_make(&a, &cell, 1, 1, NULL);
	sheet_make(&b, &cell, 1, 1, NULL);
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
		cmocka_unit_test(every_pixel_lands_enlarged_by_a_whole_factor), cmocka_unit_test(large_pictures_stay_as_they_are),
		cmocka_unit_test(pictures_of_several_sizes_share_a_sheet), cmocka_unit_test(labels_of_any_length),
		cmocka_unit_test(the_same_sheet_twice), cmocka_unit_test(text_is_clipped_and_utf8_counts_once),
		cmocka_unit_test(every_printable_character_is_different),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
