/* Text in an array of fixed size: cut at its end, never beyond it. */
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/io/safetensors.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

/* Behind the array lies what must stay. */
struct guarded { char text[12], behind[12]; };

static void what_does_not_fit_is_cut(void **state)
{
	static const struct { const char *parts[3], *text; } cases[] = {
		{ { "abc", "def", "" }, "abcdef" },
		{ { "abc", "defghijk", "" }, "abcdefghijk" },
		{ { "abc", "defghijkl", "" }, "abcdefghijk" },
		{ { "a", "bcdefghijklmnopqrstuvwxyz", "more" }, "abcdefghijk" },
		{ { "abcdefghijklmnopqrstuvwxyz", "more", "and more" }, "abcdefghijk" },
		{ { "", "", "" }, "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct guarded g;
		size_t n = 0;

		memset(&g, '#', sizeof(g));
		for (int p = 0; p < 3; p++) {
			n = text_add(g.text, sizeof(g.text), n, "%s", cases[i].parts[p]);
			assert_int_equal(n, strlen(g.text));
		}
		assert_string_equal(g.text, cases[i].text);
		assert_memory_equal(g.behind, "############", sizeof(g.behind));
	}
}

/* A tensor without elements may claim any shape. */
static void the_longest_shape_is_whole(void **state)
{
	const int64_t longest[SAFETENSORS_MAX_DIMS] = { INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN,
							INT64_MIN, INT64_MIN, -7 };
	char text[SHAPE_ROOM];

	assert_string_equal(shape_text(text, 0, longest, "x"), "");
	assert_string_equal(shape_text(text, 1, longest + 7, "x"), "-7");
	assert_string_equal(shape_text(text, 2, longest + 6, "x"), "-9223372036854775808x-7");
	shape_text(text, SAFETENSORS_MAX_DIMS, longest, ",");
	assert_int_equal(strlen(text), 7 * 21 + 2);
	assert_string_equal(text + 7 * 21, "-7");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_does_not_fit_is_cut),
		cmocka_unit_test(the_longest_shape_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
