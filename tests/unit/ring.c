/* Results come in order, each once, only a few at a time; a stop in the middle leaves nothing behind. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sched.h>
#include "../../libcommon/data/ring.h"
#include <cmocka.h>

static atomic_int alive, most;

struct record { size_t next, stop_at; };

static void work(void *context, size_t item, void *slot)
{
	size_t **result = slot;
	int now = ++alive;

	assert_null(*result);
	if (now > most)
		most = now;
	for (size_t i = 0; i < item * 7919 % 50; i++)
		sched_yield();
	*result = malloc(sizeof(size_t));
	**result = item * item;
}

static int take(void *context, size_t item, void *slot)
{
	struct record *r = context;

	assert_int_equal(item, r->next++);
	assert_int_equal(**(size_t **)slot, item * item);
	return item == r->stop_at ? -1 : 0;
}

static void release(void *slot)
{
	size_t **result = slot;

	if (*result) {
		free(*result);
		alive--;
	}
}

static void run(size_t count, int threads, size_t stop_at)
{
	struct record r = { 0, stop_at };
	const struct ring_job job = { count, threads, sizeof(size_t *), &r, work, take, release };

	most = 0;
	assert_int_equal(ring_run(&job), stop_at < count ? -1 : 0);
	assert_int_equal(r.next, stop_at < count ? stop_at + 1 : count);
	assert_int_equal(alive, 0);
	assert_in_range(most, 0, 2 * threads);
}

static void in_order(void **state)
{
	for (int threads = 1; threads <= 9; threads++)
		for (size_t count = 0; count < 300; count += 1 + count / 2)
			run(count, threads, SIZE_MAX);
}

static void stopped(void **state)
{
	for (int threads = 1; threads <= 5; threads += 2)
		for (size_t at = 0; at < 40; at += 3)
			run(100, threads, at);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(in_order), cmocka_unit_test(stopped) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
