/* A1111's brackets: what it documents, what is left open, what only looks like a weight. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "../../libcommon/model/prompt_weights.h"
#include <cmocka.h>

/* want: "text|weight" a line */
static const struct { const char *prompt, *want; } cases[] = {
	{ "normal text", "normal text|1\n" },
	{ "", "|1\n" },
	{ "an (important) word", "an |1\nimportant|1.1\n word|1\n" },
	{ "an [important] word", "an |1\nimportant|0.909091\n word|1\n" },
	{ "(unbalanced", "unbalanced|1.1\n" },
	{ "[unbalanced (twice", "unbalanced |0.909091\ntwice|1\n" },
	{ "(x:1.3)", "x|1.3\n" },
	{ "(x: .5 ) y", "x|0.5\n y|1\n" },
	{ "(x:-0.5)", "x|-0.5\n" },
	{ "\\(literal\\] \\\\", "(literal] \\|1\n" },
	{ "(unnecessary)(parens)", "unnecessaryparens|1.1\n" },
	{ "((a)b)", "a|1.21\nb|1.1\n" },
	{ "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
	  "a |1\nhouse|1.573\n |1.1\non|1\n a |1.1\nhill|0.55\n, sun, |1.1\nsky|1.4641\n.|1.1\n" },
	/* no weights: nothing is open, or no number */
	{ "x:1.3)", "x:1.3)|1\n" }, { "ratio 16:9]", "ratio 16:9]|1\n" }, { "(a:b)", "a:b|1.1\n" },
	{ "(a:1.2.3)", "a:1.2.3|1.1\n" }, { "(a:)", "a:|1.1\n" }, { "(a:+)", "a:+|1.1\n" },
	{ "(a:inf)", "a:inf|1.1\n" }, { "(a:1e3)", "a:1e3|1.1\n" }, { "(a:--1)", "a:--1|1.1\n" },
	{ "(a:99999999999999999999999999999999999999999999999999)", "a|1e+06\n" },       /* no finite float */
	{ "((a:99999999)b:-99999999)", "ab|-1e+06\n" },
	{ "[a:1.3]", "a:1.3|0.909091\n" }, { "back\\slash \\", "backslash |1\n" }, { ")(", ")|1\n" },
};

static void every_case(void **state)
{
	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		struct weighted_texts l;
		char got[500] = "";

		prompt_weights_parse(cases[k].prompt, &l);
		for (size_t i = 0; i < l.count; i++)
			snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s|%g\n", l.part[i].text,
				 l.part[i].weight);
		if (strcmp(got, cases[k].want))
			fail_msg("'%s' gives\n%swanted\n%s", cases[k].prompt, got, cases[k].want);
		prompt_weights_free(&l);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_case) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
