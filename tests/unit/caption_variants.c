/* The words of a visit: what is fixed is compared whole, what is drawn by its set, its repeatability and its rate. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/data/caption_variants.h"
#include <cmocka.h>

#define USUAL .warmup_min = 1

/* Nothing here is left to chance: the draws have one outcome, or the step decides. */
static const struct { struct caption_options o; const char *caption; uint32_t step; const char *words; } fixed[] = {
	{ { USUAL }, "a robot, red", 0, "a robot, red" },
	{ { USUAL }, "first\nsecond", 0, "first" },
	/* wildcards and separators mean nothing unless asked for */
	{ { USUAL }, "{a|b}, |||, c", 0, "{a|b}, |||, c" },
	{ { USUAL, .second_separator = ";;;" }, "a;;;b, c", 0, "a,b, c" },
	{ { USUAL, .shuffle = true }, " one ", 0, "one" },
	{ { USUAL, .shuffle = true }, "", 0, "" },
	{ { USUAL, .shuffle = true, .keep_tokens = 9 }, "a ,b,  c", 0, "a, b, c" },
	{ { USUAL, .shuffle = true, .keep_tokens = 2 }, "a,,b", 0, "a, , b" },           /* an empty tag is a tag */
	{ { USUAL, .shuffle = true, .keep_separator = "|||" }, "a, b ||| c ||| d, e", 0, "a, b, c, d, e" },
	/* and here it is none */
	{ { USUAL, .shuffle = true, .keep_separator = "|||" }, "a, , b ||| ,", 0, "a, b" },
	{ { USUAL, .shuffle = true, .keep_separator = "|||" }, "||| a", 0, "a" },
	{ { USUAL, .shuffle = true, .keep_separator = "|||", .keep_tokens = 1 }, "x ||| y", 0, "x, y" },
	/* joined by what they were cut at */
	{ { .separator = "; ", .shuffle = true, .keep_tokens = 9 }, "a; b", 0, "a; b" },
	{ { .separator = ";", .shuffle = true, .keep_tokens = 9 }, "a;b, c ; d", 0, "a; b, c; d" },
	{ { .separator = " ", .shuffle = true, .keep_tokens = 9 }, "a b", 0, "a b" },
	{ { .separator = " | ", .shuffle = true, .keep_tokens = 9, .second_separator = "+" }, "a+b | c", 0,
	  "a | b | c" },
	{ { USUAL, .shuffle = true, .keep_tokens = 9, .second_separator = ";" }, "a;b, c", 0, "a,b, c" },
	{ { USUAL, .tag_dropout = 1, .keep_tokens = 1 }, "a, b, c", 0, "a" },
	{ { USUAL, .tag_dropout = 1, .keep_separator = "|" }, "a | b, c | d", 0, "a, d" },
	{ { USUAL, .tag_dropout = 1 }, "a, b", 0, "" },
	{ { USUAL, .warmup_steps = 10 }, "a, b, c, d, e", 0, "a" },
	{ { USUAL, .warmup_steps = 10 }, "a, b, c, d, e", 4, "a, b" },          /* floor(4 * 4/10) + 1 */
	{ { USUAL, .warmup_steps = 10 }, "a, b, c, d, e", 9, "a, b, c, d" },
	{ { USUAL, .warmup_steps = 10 }, "a, b, c, d, e", 10, "a, b, c, d, e" },
	{ { USUAL, .warmup_steps = 0.1 }, "a, b, c, d, e", 4, "a, b" },         /* of 100 steps */
	{ { USUAL, .warmup_steps = 10, .keep_tokens = 2 }, "a, b, c, d, e", 5, "a, b, c, d" },
	{ { .warmup_min = 3, .warmup_steps = 10 }, "a", 5, "a" },
	{ { USUAL, .wildcard = true }, "{a|a} {{b|c}} {} }{", 0, "a {b|c} {} }{" },
	{ { USUAL, .wildcard = true }, "{only} one", 0, "only one" },
	{ { USUAL, .wildcard = true }, "{a}} b", 0, "{a} b" },
	{ { USUAL, .wildcard = true }, "same\nsame", 0, "same" },
	{ { USUAL, .wildcard = true }, "{a", 0, "{a" },
};

static void fixed_outcomes(void **state)
{
	for (size_t i = 0; i < sizeof(fixed) / sizeof(*fixed); i++) {
		char *words = caption_of_visit(&fixed[i].o, fixed[i].caption,
					       &(struct caption_visit){ 7, 0, fixed[i].step, 3, 100 });
		if (strcmp(words, fixed[i].words))
			fail_msg("row %zu: '%s' became '%s', not '%s'", i, fixed[i].caption, words, fixed[i].words);
		free(words);
	}
}

/* Each outcome of a fair draw among n comes up in 600 n visits with frequency 1/n;
 * 5 standard deviations are allowed. */
static void outcomes(const struct caption_options *o, const char *caption, const char *const *expected, int n)
{
	long count[8] = { 0 }, visits = 600 * n;

	for (long v = 0; v < visits; v++) {
		char *words = caption_of_visit(o, caption, &(struct caption_visit){ 1, 0, (uint32_t)v, 0, 100 });
		int i;
		for (i = 0; i < n && strcmp(words, expected[i]); i++)
			;
		if (i == n)
			fail_msg("'%s' became '%s'", caption, words);
		count[i]++;
		free(words);
	}
	for (int i = 0; i < n; i++)
		if (labs(count[i] - 600) > 5 * 25)
			fail_msg("'%s': '%s' came %ld times of %ld", caption, expected[i], count[i], visits);
}

static void fair_draws(void **state)
{
	const struct caption_options shuffle = { USUAL, .shuffle = true, .keep_tokens = 1 };
	const struct caption_options wild = { USUAL, .wildcard = true };
	const struct caption_options half = { USUAL, .tag_dropout = 0.5, .keep_tokens = 1 };
	const struct caption_options out = { USUAL, .dropout = 0.5 };
	const struct caption_options both = { USUAL, .shuffle = true, .keep_separator = "|" };

	outcomes(&shuffle, "k, a, b, c", (const char *[]){ "k, a, b, c", "k, a, c, b", "k, b, a, c", "k, b, c, a",
							   "k, c, a, b", "k, c, b, a" }, 6);
	outcomes(&wild, "{a|b|} x", (const char *[]){ "a x", "b x", " x" }, 3);
	outcomes(&wild, "one\ntwo\nthree", (const char *[]){ "one", "two", "three" }, 3);
	outcomes(&wild, "{{{a|b}}}", (const char *[]){ "{a", "{b}" }, 2);
	outcomes(&half, "k, a, b", (const char *[]){ "k, a, b", "k, a", "k, b", "k" }, 4);
	outcomes(&out, "a", (const char *[]){ "a", "" }, 2);
	outcomes(&both, "x | a, b | y", (const char *[]){ "x, a, b, y", "x, b, a, y" }, 2);
}

static void pure(void **state)
{
	const struct caption_options o = { USUAL, .shuffle = true, .tag_dropout = 0.3, .dropout = 0.1,
					   .wildcard = true };
	const char *caption = "a, b, c, d, e, f, {g|h}";
	int same = 0;

	for (uint32_t i = 0; i < 50; i++) {
		char *a = caption_of_visit(&o, caption, &(struct caption_visit){ 5, 0, i, 2, 100 });
		char *b = caption_of_visit(&o, caption, &(struct caption_visit){ 5, 9, i, 2, 100 });
		char *c = caption_of_visit(&o, caption, &(struct caption_visit){ 6, 0, i, 2, 100 });
		assert_string_equal(a, b);              /* the epoch decides nothing but every-n-epochs */
		same += !strcmp(a, c);
		free(a);
		free(b);
		free(c);
	}
	assert_true(same < 10);
}

static void every_n_epochs(void **state)
{
	const struct caption_options o = { USUAL, .dropout_every_epochs = 3 };

	for (uint32_t epoch = 0; epoch < 9; epoch++)
		assert_int_equal(caption_left_out(&o, &(struct caption_visit){ 5, epoch, 0, 0, 100 }), epoch % 3 == 2);
	assert_true(caption_options_drop(&o));
	assert_false(caption_options_vary(&o));
}

static void override(void **state)
{
	const struct caption_options base = { USUAL, .keep_tokens = 4, .dropout = 0.5 };
	struct caption_options o;
	struct error e = { 0 };
	json_t *own = json_loads("{\"shuffle_caption\":true,\"caption_dropout_rate\":0,"
				 "\"keep_tokens_separator\":\"|||\",\"token_warmup_step\":0.5}", 0, NULL);

	assert_int_equal(caption_options_override(&base, own, "x", &o, &e), 0);
	json_decref(own);
	assert_true(o.shuffle && o.keep_tokens == 4 && o.dropout == 0 && o.warmup_steps == 0.5);
	assert_string_equal(o.keep_separator, "|||");
	assert_null(o.separator);
	caption_options_free(&o);
	assert_int_equal(caption_options_override(&base, NULL, "x", &o, &e), 0);
	assert_true(o.keep_tokens == 4 && !o.shuffle);
	caption_options_free(&o);
}

static void bad_override(void **state)
{
	static const char *const bad[] = { "{\"shuffle_caption\":1}", "{\"keep_tokens\":-1}", "{\"keep_tokens\":1.5}",
					   "{\"caption_dropout_rate\":2}", "{\"caption_separator\":\"\"}",
					   "{\"keep_tokens\":9999999999}", "{\"keep_tokens_separator\":7}" };
	const struct caption_options base = { USUAL };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct caption_options o;
		struct error e = { 0 };
		json_t *own = json_loads(bad[i], 0, NULL);
		if (!caption_options_override(&base, own, "a.tar: 7.json", &o, &e))
			fail_msg("taken: %s", bad[i]);
		assert_int_equal(e.code, EXIT_INPUT);
		assert_non_null(strstr(e.text, "a.tar: 7.json: "));
		json_decref(own);
	}
}

static void check(void **state)
{
	struct caption_options o = { USUAL };
	struct error e = { 0 };

	assert_int_equal(caption_options_check(&o, &e), 0);
	o.keep_separator = "\xff";
	assert_int_equal(caption_options_check(&o, &e), -1);
	assert_int_equal(e.code, EXIT_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fixed_outcomes), cmocka_unit_test(fair_draws), cmocka_unit_test(pure),
		cmocka_unit_test(every_n_epochs), cmocka_unit_test(override), cmocka_unit_test(bad_override),
		cmocka_unit_test(check),
	};

	return cmocka_run_group_tests_name("caption_variants", tests, NULL, NULL);
}
