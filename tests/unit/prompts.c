/* Prompt files: kohya's options, comments, mistakes with their line. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>
#include "../../libcommon/io/publish.h"
#include "../../libcommon/sample/prompts.h"
#include "../../libcommon/train/stop.h"
#include <cmocka.h>

static void every_option(void **state)
{
	struct prompt_list l = { 0 };
	struct error e;
	const struct prompt *p;

	assert_int_equal(prompt_parse("f:3", "a cat, --ish thing --w 512 --H 768 --d 18446744073709551615 --s 20 --l "
					      "7.25 --n no dog --ss euler\r",
				      &l, &e), -1);     /* "--ish" is no option */
	prompts_free(&l);
	assert_non_null(strstr(e.text, "f:3:"));
	assert_int_equal(prompt_parse("f:3", "a cat --w 512 --H 768 --d 18446744073709551615 --s 20 --l 7.25 --n no "
					      "dog, no --ss euler\r", &l, &e), 0);
	p = &l.prompt[0];
	assert_string_equal(p->where, "f:3");
	assert_string_equal(p->text, "a cat");
	assert_string_equal(p->negative, "no dog, no");
	assert_string_equal(p->sampler, "euler");
	assert_true(p->width == 512 && p->height == 768 && p->steps == 20 && p->cfg == 7.25);
	assert_true(p->has_seed && p->seed == UINT64_MAX);
	prompts_free(&l);
}

static void defaults_and_mistakes(void **state)
{
	static const char *const bad[] = { "x --w 12px", "x --w 0", "x --d -1", "x --s 5000", "x --l much", "x --q 3",
					   "x --w" };
	struct prompt_list l = { 0 };
	struct error e;
	size_t i;

	assert_int_equal(prompt_parse("f:1", "plain -- text", &l, &e), -1);
	prompts_free(&l);
	assert_int_equal(prompt_parse("f:1", "s 20 girls", &l, &e), 0);       /* kohya would set 20 steps here */
	assert_true(l.prompt[0].steps == 0 && l.prompt[0].cfg < 0 && !l.prompt[0].has_seed && !l.prompt[0].negative);
	prompts_free(&l);
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(prompt_parse("f:9", bad[i], &l, &e), -1);
		assert_int_equal(e.code, EXIT_USAGE);
		assert_non_null(strstr(e.text, "f:9:"));
	}
	prompts_free(&l);
}

static int read_text(const char *ending, const char *text, struct prompt_list *l, struct error *e)
{
	char *path = xprintf("/tmp/lora-prompts-%d%s", (int)getpid(), ending);
	int result;

	*l = (struct prompt_list){ 0 };
	assert_int_equal(publish_bytes(path, text, strlen(text), e), 0);
	result = prompts_read(path, l, e);
	unlink(path);
	free(path);
	return result;
}

static void check_two(const struct prompt_list *l)
{
	const struct prompt *p = l->prompt;

	assert_int_equal(l->count, 2);
	assert_string_equal(p[0].text, "a cat");
	assert_true(p[0].width == 512 && p[0].height == 768 && p[0].steps == 20 && p[0].cfg == 7.5 && p[0].has_seed &&
		    p[0].seed == 7);
	assert_string_equal(p[0].negative, "ugly");
	assert_string_equal(p[1].text, "a dog");
	assert_true(p[1].width == 640 && p[1].height == 768 && !p[1].has_seed);
	assert_string_equal(p[1].negative, "ugly");
}

static void tables(void **state)
{
	struct prompt_list l;
	struct error e;

	assert_int_equal(read_text(".toml", "[prompt]\nwidth = 512\nheight = 768\nnegative_prompt = \"ugly\"\n"
					    "[[prompt.subset]]\n"
				   "prompt = \"a cat\"\nseed = 7\nsample_steps = 20\nscale = 7.5\n[[prompt.subset]]\n"
				   "prompt = \"a dog\"\n"
				   "width = 640\n", &l, &e), 0);
	check_two(&l);
	prompts_free(&l);
	assert_int_equal(read_text(".json", "[{\"prompt\": \"a cat\", \"width\": 512, \"height\": 768, \"seed\": 7, "
					    "\"scale\": 7.5, \"sample_steps\": 20, \"negative_prompt\": \"ugly\"}, "
					    "\"a dog --w 640 --h 768 --n ugly\"]", &l, &e), 0);
	check_two(&l);
	prompts_free(&l);
}

static void bad_tables(void **state)
{
	static const struct { const char *ending, *text, *say; } bad[] = {
		{ ".toml", "[prompt]\nprompt = \"x\"\n", "subset" },
		{ ".toml", "[[prompt.subset]]\nprompt = \"x\"\nhight = 3\n", ":3: unknown key 'hight'" },
		{ ".toml", "[[prompt.subset]]\nwidth = 64\n", "no 'prompt'" },
		{ ".toml", "[[prompt.subset]]\nprompt = \"x\"\nwidth = [1]\n", "neither text nor number" },
		{ ".toml", "[[prompt.subset]]\nprompt = \"x\"\nwidth = -1\n", "no whole number" },
		{ ".json", "{}", "no list" }, { ".json", "[1]", ".json: entry 1: neither" },
		{ ".json", "[]", "no prompts" },
		{ ".json", "[\n\"x\",\n\n{\"prompt\": \"x\",\n\"heigth\": 64}]",
		  ".json: entry 2: unknown key 'heigth'" },
		{ ".json", "[{\"prompt\": null}]", "neither text" }, { ".json", "[", "JSON" },
	};
	struct prompt_list l;
	struct error e;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(read_text(bad[i].ending, bad[i].text, &l, &e), -1);
		if (!strstr(e.text, bad[i].say) && strcmp(bad[i].say, "JSON"))
			fail_msg("%s: '%s'", bad[i].text, e.text);
		prompts_free(&l);
	}
}

static void durations(void **state)
{
	static const struct { const char *text; double seconds; } good[] = {
		{ "90", 90 }, { "5h45m", 20700 }, { "1d", 86400 }, { "1.5m10s", 100 }, { "0", 0 } };
	static const char *const bad[] = { "x", "5x", "h", "-3s", "5h-3m" };
	struct error e;
	size_t i;
	double s;

	for (i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(parse_duration(good[i].text, &s, &e), 0);
		assert_true(s == good[i].seconds);
	}
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(parse_duration(bad[i], &s, &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_option), cmocka_unit_test(defaults_and_mistakes),
					    cmocka_unit_test(tables), cmocka_unit_test(bad_tables),
					    cmocka_unit_test(durations) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
