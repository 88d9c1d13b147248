/* The hash table against a plain list, and the nearest name for the mistakes that people make. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../../libcommon/base/map.h"

static void put_and_get(void **state)
{
	enum { N = 10000 };
	char (*key)[16] = calloc(N, sizeof(*key));
	struct map *m = map_new(0);

	for (int i = 0; i < N; i++) {
		snprintf(key[i], sizeof(key[i]), "%x", i * 7919);
		assert_int_equal(map_get(m, key[i], strlen(key[i])), -1);
		assert_int_equal(map_put(m, key[i], strlen(key[i]), i), -1);
	}
	for (int i = 0; i < N; i++) {
		assert_int_equal(map_get(m, key[i], strlen(key[i])), i);
		assert_int_equal(map_put(m, key[i], strlen(key[i]), -5), i);
	}
	assert_int_equal(map_get(m, "not there", 9), -1);
	map_free(m);
	free(key);
}

static void keys_are_bytes_and_length(void **state)
{
	static const char text[] = "abcabcdefghijk\0lmnopqrstuvw";
	struct map *m = map_new(100);

	assert_int_equal(map_put(m, "", 0, 9), -1);
	for (size_t n = 1; n < sizeof(text); n++)
		assert_int_equal(map_put(m, text, n, (long)n), -1);
	for (size_t n = 1; n < sizeof(text); n++)
		assert_int_equal(map_get(m, text, n), (long)n);
	assert_int_equal(map_get(m, "abc", 3), 3);
	assert_int_equal(map_get(m, "abd", 3), -1);
	assert_int_equal(map_get(m, "", 0), 9);
	map_free(m);
	map_free(NULL);
}

static void nearest(void **state)
{
	static const char *const names[] = { "rank", "alpha", "learning_rate", "max-train-steps", "resolution", "seed",
					     "o" };
	static const struct { const char *wrong, *meant; } cases[] = {
		{ "rnak", "rank" }, { "Rank", "rank" }, { "ranks", "rank" }, { "alhpa", "alpha" },
		{ "learning-rate", "learning_rate" }, { "learnig_rate", "learning_rate" },
		{ "lerningrate", "learning_rate" }, { "MAX_TRAIN_STEP", "max-train-steps" },
		{ "resolutoin", "resolution" }, { "sed", "seed" }, { "xyzzy", NULL }, { "", NULL }, { "q", NULL },
		{ "completely_different", NULL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *found = nearest_name(cases[i].wrong, names, sizeof(names) / sizeof(*names));

		if (!cases[i].meant)
			assert_null(found);
		else
			assert_string_equal(found, cases[i].meant);
	}
}

static void nearest_of_long_names(void **state)
{
	char names[3][100];
	const char *const list[] = { names[0], names[1], names[2] };

	for (int i = 0; i < 3; i++) {
		memset(names[i], 'a' + i, 62 + i);
		names[i][62 + i] = 0;
	}
	assert_ptr_equal(nearest_name(names[1], list, 3), names[1]);
	names[1][0] = 'x';
	assert_ptr_equal(nearest_name(names[1], list, 3), names[1]);
	assert_null(nearest_name(names[2], list, 3));
	assert_null(nearest_name("rank", list, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(put_and_get),
		cmocka_unit_test(keys_are_bytes_and_length),
		cmocka_unit_test(nearest),
		cmocka_unit_test(nearest_of_long_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
