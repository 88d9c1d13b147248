/* How loops are shared among threads; backend_find; the dry backend. */
#include "cpu_reference.h"
#include <stdatomic.h>
#include <unistd.h>

enum { MOST = 1000 };

struct tally { _Atomic int done[MOST], wrong_thread; int threads; };

static void count_task(struct device *d, const void *arg, int task, int thread)
{
	struct tally *t = *(struct tally *const *)arg;

	atomic_fetch_add(&t->done[task], 1);
	if (thread < 0 || thread >= t->threads)
		atomic_fetch_add(&t->wrong_thread, 1);
}

/* Thousands of loops in a row, from one task to many, now and then after a pause in which the threads fall asleep. */
static void every_task_once(void **state)
{
	static const int threads[] = { 1, 2, 3, 8 };

	for (int i = 0; i < 4; i++) {
		struct tally *t = xcalloc(1, sizeof(*t));
		struct error e;
		struct device *d;

		t->threads = threads[i];
		threads_use(threads[i]);
		d = cpu_backend.open(&e);
		assert_non_null(d);
		for (int loop = 0; loop < 3000; loop++) {
			const int tasks = 1 + loop * 37 % MOST;

			if (loop % 500 == 0)
				usleep(2000);
			memset(t->done, 0, sizeof(t->done));
			run_tasks(d, tasks, WORTH_THREADS, count_task, &t);
			for (int k = 0; k < MOST; k++)
				assert_int_equal(t->done[k], k < tasks);
		}
		assert_int_equal(t->wrong_thread, 0);
		cpu_backend.close(d);
		free(t);
	}
	threads_use(0);
}

struct queue { _Atomic int begun, done, wrong; int threads; };

static void wait_task(struct device *d, const void *arg, int task, int thread)
{
	struct queue *q = *(struct queue *const *)arg;

	if (abs(atomic_fetch_add(&q->begun, 1) - task) >= q->threads)
		atomic_fetch_add(&q->wrong, 1);
	await_value(&q->done, task);
	atomic_fetch_add(&q->done, 1);
}

/* Each task waits for the one before it, so that no more are begun than there are threads. */
static void tasks_begin_in_order(void **state)
{
	static const int threads[] = { 1, 2, 3, 8 };

	for (int i = 0; i < 4; i++) {
		struct error e;
		struct device *d;

		threads_use(threads[i]);
		d = cpu_backend.open(&e);
		assert_non_null(d);
		for (int loop = 0; loop < 2000; loop++) {
			struct queue q = { .threads = threads[i] }, *at = &q;

			run_in_order(d, 1 + loop % 200, WORTH_THREADS, wait_task, &at);
			assert_int_equal(q.done, 1 + loop % 200);
			assert_int_equal(q.wrong, 0);
		}
		cpu_backend.close(d);
	}
	threads_use(0);
}

static void finds_by_name(void **state)
{
	struct error e = { 0 };

	assert_ptr_equal(backend_find("cpu", &e), &cpu_backend);
	assert_null(backend_find("abacus", &e));
	assert_int_equal(e.code, EXIT_USAGE);
	assert_non_null(strstr(e.text, "abacus"));
	assert_non_null(strstr(e.text, "cpu"));
}

/* Every entry of both tables is filled: there are no fallbacks. */
static void tables_are_complete(void **state)
{
	const struct backend *const all[] = { &cpu_backend, &dry_backend };

	for (int i = 0; i < 2; i++)
		for (size_t k = 0; k < sizeof(struct backend) / sizeof(void *); k++)
			assert_non_null(((void *const *)all[i])[k]);
}

/* Addresses that would fault if anything touched them. */
static void dry_touches_nothing(void **state)
{
	struct error e;
	struct device *d = dry_backend.open(&e);
	struct weight w = { .dtype = DTYPE_F16, .out = 4, .in = 4, .kh = 3, .kw = 3 };
	const struct conv_shape s = { 1, 8, 8, 8, 8, 1, 1 };
	float *nowhere = dry_backend.alloc(d, (size_t)1 << 60);

	assert_non_null(nowhere);
	assert_int_equal(dry_backend.prepare(d, &w, nowhere), 0);
	assert_non_null(w.data);
	dry_backend.conv2d(d, f32(nowhere), f32(nowhere), &w, nowhere, &s);
	dry_backend.linear(d, f32(nowhere), f32(nowhere), &w, NULL, 7, NULL);
	dry_backend.download(d, nowhere, nowhere, 100);
	dry_backend.unprepare(d, &w);
	dry_backend.release(d, nowhere);
	dry_backend.close(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_task_once),
					    cmocka_unit_test(tasks_begin_in_order),
					    cmocka_unit_test(finds_by_name),
					    cmocka_unit_test(tables_are_complete),
					    cmocka_unit_test(dry_touches_nothing) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
