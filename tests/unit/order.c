/* The order of data: complete, by bucket, a function of (seed, epoch) alone. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include "../../libcommon/train/order.h"
#include <cmocka.h>

static const struct order_item items[] = { { 8, 8, 3 }, { 10, 6, 1 }, { 8, 8, 2 }, { 6, 10, 4 }, { 10, 6, 2 } };
#define ITEMS (sizeof(items) / sizeof(*items))

static void every_sample_as_often_as_it_repeats(void **state)
{
	struct order *o = order_new(items, ITEMS, 2, 5);
	long seen[ITEMS];
	uint32_t epoch;
	size_t i;
	int k;

	assert_int_equal(order_batches(o), 3 + 2 + 2);
	for (epoch = 0; epoch < 4; epoch++) {
		memset(seen, 0, sizeof(seen));
		for (i = 0; i < order_batches(o); i++) {
			struct order_batch b = order_batch(o, epoch, i);
			for (k = 0; k < b.n; k++) {
				assert_int_equal(items[b.sample[k]].w, items[b.sample[0]].w);
				assert_int_equal(items[b.sample[k]].h, items[b.sample[0]].h);
				seen[b.sample[k]]++;
			}
		}
		for (i = 0; i < ITEMS; i++)
			assert_int_equal(seen[i], items[i].repeats);
	}
	order_free(o);
}

static void print(struct order *o, uint32_t epoch, char *out)
{
	size_t i;
	int k;

	for (i = 0; i < order_batches(o); i++) {
		struct order_batch b = order_batch(o, epoch, i);
		for (k = 0; k < b.n; k++)
			*out++ = 'a' + b.sample[k];
		*out++ = ' ';
	}
	*out = 0;
}

static void function_of_seed_and_epoch(void **state)
{
	struct order *a = order_new(items, ITEMS, 2, 5), *b = order_new(items, ITEMS, 2, 5),
		*other = order_new(items, ITEMS, 2, 6);
	char forwards[64], again[64], next[64], seeded[64];

	print(a, 3, forwards);
	print(b, 7, again);             /* asking for another epoch first must not matter */
	print(b, 3, again);
	print(a, 4, next);
	print(other, 3, seeded);
	assert_string_equal(forwards, again);
	assert_string_not_equal(forwards, next);
	assert_string_not_equal(forwards, seeded);
	order_free(a);
	order_free(b);
	order_free(other);
}

/* kohya: the last group of an epoch may be short */
static void places(void **state)
{
	struct order *o = order_new(items, ITEMS, 2, 5);        /* 7 batches */
	struct order_place p;

	assert_int_equal(order_updates_per_epoch(o, 3), 3);
	p = order_place(o, 0, 3);
	assert_true(p.epoch == 0 && p.first == 0 && p.batches == 3);
	p = order_place(o, 2, 3);
	assert_true(p.epoch == 0 && p.first == 6 && p.batches == 1);
	p = order_place(o, 4, 3);
	assert_true(p.epoch == 1 && p.first == 3 && p.batches == 3);
	order_free(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_sample_as_often_as_it_repeats),
					    cmocka_unit_test(function_of_seed_and_epoch), cmocka_unit_test(places) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
