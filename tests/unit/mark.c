/* Which run: what makes another one, what does not, and how a difference is told. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/train/settings/mark.h"
#include <cmocka.h>     /* last: it takes the name fail */

#define DEFAULTS "learning_rate = 2e-6\nloss_type = \"l2\"\nseed = \"42\"\nmax_train_steps = 1600\n"

/* The value of caption_prefix holds the words of another line, and one with the beginning of a key follows. */
#define CONFIG "learning_rate = 0.001\nloss_type = \"l2\"\ncaption_prefix = \"loss_type = l1\"\nlr = 3\n"

static void settings_are_those_that_make_a_run(void **state)
{
	char *s = mark_settings(CONFIG "max_train_steps = 12\nmax_train_epochs = 3\n"
				       "pretrained_model_name_or_path = \"m\"\nno_metadata = true\n"
				"metadata_title = \"t\"\noutput_name = \"x\"\nsave_precision = \"fp16\"\n", DEFAULTS);

	assert_string_equal(s, "learning_rate = 0.001\ncaption_prefix = \"loss_type = l1\"\nlr = 3\n");
	free(s);
	s = mark_settings(DEFAULTS, DEFAULTS);
	assert_string_equal(s, "");
	free(s);
}

static void marks_differ_where_runs_do(void **state)
{
	char marks[4][MARK_SIZE];

	run_mark("seed=1", "a = 1\n", marks[0]);
	run_mark("seed=1", "a = 1\n", marks[1]);
	run_mark("seed=1", "a = 2\n", marks[2]);
	run_mark("seed=1a", " = 1\n", marks[3]);
	assert_string_equal(marks[0], marks[1]);
	assert_int_equal(strlen(marks[0]), MARK_SIZE - 1);
	assert_true(strcmp(marks[0], marks[2]) && strcmp(marks[0], marks[3]));
}

static void the_first_difference_is_told(void **state)
{
	static const struct { const char *was, *is, *say; } cases[] = {
		{ "a = 1\nb = 2\n", "a = 1\nb = 2\n", NULL },
		{ "", "", NULL },
		{ "a = 1\nb = 2\n", "a = 1\nb = 3\n", "b = 2, this one 3" },
		{ "a = 1\nb = 2\n", "b = 3\na = 1\n", "b = 2, this one 3" },
		{ "a = 1\n", "", "a = 1, this one the default of a" },
		{ "", "a = 1\n", "the default of a, this one a = 1" },
		{ "a = 1\n", "a = 1\nab = 1\n", "the default of ab, this one ab = 1" },
		{ "ab = 1\n", "a = 1\nab = 1\n", "the default of a, this one a = 1" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *say = settings_difference(cases[i].was, cases[i].is);
		if (cases[i].say)
			assert_string_equal(say, cases[i].say);
		else
			assert_null(say);
		free(say);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settings_are_those_that_make_a_run), cmocka_unit_test(marks_differ_where_runs_do),
		cmocka_unit_test(the_first_difference_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
