/* Where a caption is cut into tags: what training shuffles, --lint compares and ss_tag_frequency counts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/lines.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/data/caption_tags.h"
#include <cmocka.h>

static const struct { struct caption_options o; const char *caption, *tags; } rows[] = {
	{ { 0 }, "a, b ,,c d,", "a|b|c d" },
	{ { 0 }, "a, a", "a|a" },
	{ { 0 }, "", "" },
	{ { 0 }, "first, line\nsecond", "first|line" },                        /* training reads the first */
	{ { 0 }, "{a|b}, x ||| y", "{a;b}|x ;;; y" },                           /* ; stands for | here */
	{ { .separator = ";" }, "big; gizmo, the robot; red", "big|gizmo, the robot|red" },
	{ { .separator = "; " }, "a; b;c", "a|b;c" },
	{ { .keep_separator = "|||" }, "big, gizmo ||| blue, red", "big|gizmo|blue|red" },
	{ { .keep_separator = "|||" }, "a ||| b ||| c, d", "a|b|c|d" },
	{ { .keep_separator = "|||", .separator = "." }, "a, b ||| c. d", "a, b|c|d" },
	{ { .keep_tokens = 1 }, "a, b", "a|b" },
	{ { .second_separator = ";;;" }, "a;;;b, c", "a|b|c" },
	{ { .second_separator = "+", .separator = ";" }, "a + b, x; c", "a|b, x|c" },
	{ { .wildcard = true }, "one, two\nthree, one", "one|two|three" },
	{ { .wildcard = true }, "a {red|blue} hat, b", "a red hat|b|a blue hat" },
	{ { .wildcard = true }, "{a, b|c}, d", "a|b|d|c" },
	{ { .wildcard = true }, "{a|b} {x|y|z}, t, t", "a x|t|t|b y|b z" },
	{ { .wildcard = true }, "{{a}}, b", "{a}|b" },
	{ { .wildcard = true, .keep_separator = "|||" }, "{a||| b|c}", "a|b|c" },
	{ { .wildcard = true }, "{a||b}, c", "a|c|b" },
};

/* In the table | stands between tags, and ; for a | inside one. */
static void cut_as_training_cuts(void **state)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct tag_list tags = { 0 };
		struct buffer b = { 0 };

		caption_tags(&rows[i].o, rows[i].caption, &tags);
		buffer_adds(&b, "");
		for (size_t k = 0; k < tags.count; k++) {
			buffer_adds(&b, k ? "|" : "");
			for (const char *p = tags.tag[k]; *p; p++)
				buffer_add(&b, i == 4 && *p == '|' ? ";" : p, 1);
		}
		if (strcmp(b.data, rows[i].tags))
			fail_msg("row %zu: '%s' has the tags '%s', not '%s'", i, rows[i].caption, b.data, rows[i].tags);
		buffer_free(&b);
		tag_list_free(&tags);
	}
}

/* Cutting what was joined gives the same tags again. */
static void joining_is_the_way_back(void **state)
{
	static const char *const separators[] = { NULL, ",", ", ", ";", " ; ", ".", "|||", " " };

	for (size_t i = 0; i < sizeof(separators) / sizeof(*separators); i++) {
		const struct caption_options o = { .separator = separators[i], .keep_tokens = 1 };
		char *caption = xprintf("a%sb%sc", caption_separator(&o), caption_separator(&o)), *joined;
		struct tag_list part[3] = { 0 }, again[3] = { 0 };

		tags_cut(&o, caption, part);
		joined = tags_join(&o, part);
		tags_cut(&o, joined, again);
		assert_int_equal(part[0].count, 1);
		assert_int_equal(part[1].count, 2);
		for (int p = 0; p < 3; p++) {
			assert_int_equal(part[p].count, again[p].count);
			for (size_t k = 0; k < part[p].count; k++)
				assert_string_equal(part[p].tag[k], again[p].tag[k]);
			tag_list_free(&part[p]);
			tag_list_free(&again[p]);
		}
		free(joined);
		free(caption);
	}
}

/* A caption may be 64 KiB long: neither the stack nor the time may grow with its square. */
static void long_captions(void **state)
{
	const struct caption_options o = { .wildcard = true };
	struct buffer b = { 0 };
	struct tag_list tags = { 0 };

	for (int i = 0; i < 30000; i++)
		buffer_adds(&b, "x\n");
	caption_tags(&o, b.data, &tags);
	assert_int_equal(tags.count, 1);
	tag_list_free(&tags);
	buffer_clear(&b);
	buffer_adds(&b, "{");
	for (int i = 0; i < 60000; i++)
		buffer_adds(&b, "|");
	buffer_adds(&b, "y},z");
	caption_tags(&o, b.data, &tags);
	assert_int_equal(tags.count, 1);
	tag_list_free(&tags);
	buffer_free(&b);
}

static void ends_of_lines(void **state)
{
	static const struct { const char *text, *unified; } texts[] = {
		{ "a\nb\n", "a\nb\n" }, { "a\r\nb\r\n", "a\nb\n" }, { "a\rb\r", "a\nb\n" },
		{ "a\r\r\n\nb", "a\n\n\nb" }, { "\r", "\n" }, { "", "" },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		char *copy = xstrdup(texts[i].text), *want = xstrdup(texts[i].unified), *rest = want, *line;
		FILE *f = tmpfile();
		struct line_reader r = { .file = f };

		assert_int_equal(lines_unify(copy, strlen(copy)), strlen(want));
		assert_string_equal(copy, want);
		fputs(texts[i].text, f);
		rewind(f);
		while ((line = strsep(&rest, "\n")) && (rest || *line)) {
			assert_int_equal(line_next(&r), strlen(line));
			assert_string_equal(r.line, line);
		}
		assert_int_equal(line_next(&r), -1);
		line_reader_free(&r);
		fclose(f);
		free(copy);
		free(want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cut_as_training_cuts),
		cmocka_unit_test(joining_is_the_way_back),
		cmocka_unit_test(long_captions),
		cmocka_unit_test(ends_of_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
