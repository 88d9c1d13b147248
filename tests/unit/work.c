/* Modelled time of a call, by hand; and that each card that can be named has rates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/train/plan/cards.h"
#include "../../libcommon/train/settings/choices.h"
#include <cmocka.h>

static const struct card_rates rates = { .half = 100e12, .tf32 = 50e12, .memory = 1000e9, .link = 10e9 };

static double milliseconds(struct work_call c)
{
	struct work w = { 0 };

	work_add(&w, &rates, &c);
	return work_total(&w).seconds * 1e3;
}

#define near(a, b) assert_true((a) > (b) * 0.9999 && (a) < (b) * 1.0001)

static void longest_counts(void **state)
{
	/* 3 us a launch; 80 % of the memory's rate */
	near(milliseconds((struct work_call){ .products = 1, .flop = 1e12, .bytes = 1e9 }), 10.003);
	near(milliseconds((struct work_call){ .products = 1, .flop = 1e12, .bytes = 1e9, .tf32 = true }), 20.003);
	near(milliseconds((struct work_call){ .kernels = 1, .flop = 1e11, .again = 1e11, .bytes = 1e8 }), 2.003);
	near(milliseconds((struct work_call){ .kernels = 2, .bytes = 8e9 }), 10.006);
	near(milliseconds((struct work_call){ .copies = 1, .bytes = 1e8, .link = 1e8 }), 10.003);
}

static void sums(void **state)
{
	struct work w = { 0 };
	struct work_sum all;

	work_add(&w, NULL, &(struct work_call){ WORK_NORMS, .kernels = 3, .bytes = 5 });
	work_add(&w, NULL, &(struct work_call){ WORK_ADAPTER, .products = 2, .copies = 1, .flop = 1e14, .again = 7 });
	all = work_total(&w);
	assert_int_equal(all.kernels, 3);
	assert_int_equal(all.products, 2);
	assert_int_equal(all.copies, 1);
	assert_true(all.bytes == 5 && all.flop == 1e14 && all.seconds == 0);
	assert_int_equal(w.of[WORK_NORMS].kernels, 3);
	near(work_floor(&w, &rates), 1);
}

static void cards_have_rates(void **state)
{
	char *names = xstrdup(CARD_NAMES), *rest = names, *name;
	int count = 0;

	while ((name = strsep(&rest, "|"))) {
		const struct card_rates *r = card_rates(name);

		assert_non_null(r);
		assert_non_null(card_words(name));
		assert_true(r->half > 1.9 * r->tf32 && r->half < 2.1 * r->tf32 && r->memory > r->link);
		count++;
	}
	assert_int_equal(count, 9);
	assert_null(card_rates("1080"));
	assert_null(card_rates(NULL));
	free(names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(longest_counts), cmocka_unit_test(sums), cmocka_unit_test(cards_have_rates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
