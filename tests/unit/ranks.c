/* Ranks by rule, against what sd-scripts' networks/resize_lora.py (48d368fa) says of the same singular values. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include "../../libcommon/merge/ranks.h"
#include <cmocka.h>     /* last: it takes the name fail */

/* Values up to a 0, and how many there are with the zeros behind them. */
static const struct values { double value[10]; size_t side; } falling = { { 8, 4, 2, 1, 0.5, 0.25 }, 16 },
	flat = { { 1, 1, 1, 1 }, 4 }, one = { { 3 }, 5 }, tiny = { { 9e-7, 1e-8 }, 6 }, none = { { 0 }, 6 },
	single = { { 2 }, 1 };

static const struct {
	const char *rule;
	double parameter;
	const struct values *of;
	size_t most, rank;
} cases[] = {
	/* by hand: of 16 values the index is above the last one wanted, and the rank one more */
	{ "sv_ratio", 3, &falling, 16, 3 },             /* 8, 4 > 2.67 */
	{ "sv_ratio", 3, &falling, 2, 2 },
	{ "sv_ratio", 1, &falling, 16, 2 },             /* none is above; at least 1 */
	{ "sv_ratio", 100, &falling, 16, 7 },
	{ "sv_ratio", 2, &flat, 16, 4 },
	{ "sv_fro", 0.5, &falling, 16, 2 },             /* 64 of 85.3 is 0.25 and more: index 0 + 1 */
	{ "sv_fro", 0.95, &falling, 16, 3 },            /* 0.9025: 80 of 85.3, index 1 + 1 */
	{ "sv_fro", 0.95, &falling, 1, 1 },
	{ "sv_cumulative", 0.5, &falling, 16, 2 },      /* 8 of 15.75 */
	{ "sv_cumulative", 0.8, &falling, 16, 4 },      /* 14 of 15.75, index 2 + 1 */
	{ "sv_cumulative", 0.5, &flat, 4, 3 },          /* exactly reached counts: index 1 + 1 */
	{ "sv_cumulative", 1, &flat, 4, 4 },            /* the last of all */
	{ "sv_fro", 0.9, &one, 5, 2 },
	{ "sv_fro", 0.9, &single, 5, 1 },              /* sd-scripts says 2 and fails: there is one */
	{ "sv_fro", 0.9, &tiny, 6, 1 },                 /* 1e-6 is nothing to sd-scripts */
	{ "sv_ratio", 10, &none, 6, 1 },
	/* ours: the fewest with the share */
	{ "keep", 0.75, &falling, 0, 1 },
	{ "keep", 0.751, &falling, 0, 2 },
	{ "keep", 0.5, &flat, 0, 2 },
	{ "keep", 1, &flat, 0, 4 },
	{ "keep", 0.9, &tiny, 0, 1 },
	{ "keep", 0.9, &none, 0, 1 },
	/* --rank alone */
	{ NULL, 0, &falling, 12, 12 },
	{ NULL, 0, &flat, 12, 4 },
};

static struct spectrum spectrum_of(const struct values *v)
{
	struct spectrum s = { .value = v->value, .side = v->side };

	while (s.known < v->side && v->value[s.known] > 0) {
		s.sum += v->value[s.known];
		s.squares += v->value[s.known] * v->value[s.known];
		s.known++;
	}
	return s;
}

static void ranks(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct spectrum s = spectrum_of(cases[i].of);
		const struct rank_rule *rule = cases[i].rule ? rank_rule(cases[i].rule) : NULL;
		const size_t rank = rank_kept(rule, cases[i].parameter, cases[i].most, &s);

		if (rank != cases[i].rank)
			print_error("case %zu: rank %zu, not %zu\n", i, rank, cases[i].rank);
		assert_int_equal(rank, cases[i].rank);
	}
}

static void names(void **unused)
{
	(void)unused;
	assert_null(rank_rule("sv_max"));
	assert_true(rank_rule("sv_cumulative")->needs_sum);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(ranks), cmocka_unit_test(names) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
