/* Looking at a device beside the steps: how often, what belongs to a step, what lasts, and that no step waits. */
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <semaphore.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/base/progress.h"
#include "../../libcommon/train/watch.h"
#include <cmocka.h>     /* last: it takes the name fail */

/* What the device says at each look; it is shared with the thread that looks. */
static struct {
	pthread_mutex_t lock;
	int looks;
	bool tells;
	double busy[8];                 /* at each look; the last one again and again */
	unsigned slowed[8];
	int others;
	int quick; sem_t called, go;    /* looks before one that takes as long as the test wants */
} device = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool look(struct device *d, struct device_use *now)
{
	bool held;
	int i;

	pthread_mutex_lock(&device.lock);
	i = device.looks++ < 7 ? device.looks - 1 : 7;
	*now = (struct device_use){ .slowed = device.slowed[i], .others = device.others, .others_bytes = NAN };
	for (int k = 0; k < USE_FIGURES; k++)
		now->figure[k] = NAN;
	now->figure[USE_BUSY] = device.busy[i];
	held = i >= device.quick;
	pthread_mutex_unlock(&device.lock);
	if (held) {
		sem_post(&device.called);
		sem_wait(&device.go);
	}
	return device.tells;
}

static const struct backend be = { .name = "a test", .look = look };

static int looks(void)
{
	int n;

	pthread_mutex_lock(&device.lock);
	n = device.looks;
	pthread_mutex_unlock(&device.lock);
	return n;
}

static void begin(bool tells, int quick)
{
	device.looks = device.others = 0;
	device.tells = tells;
	device.quick = quick;
	sem_init(&device.called, 0, 0);
	sem_init(&device.go, 0, 0);
	for (int i = 0; i < 8; i++) {
		device.busy[i] = 10;
		device.slowed[i] = 0;
	}
}

static void nothing_told_is_no_thread(void **state)
{
	struct watch w = { 0 };
	struct device_use use;

	begin(false, 1);
	watch_begin(&w, &be, NULL);
	assert_false(w.runs);
	assert_false(watch_read(&w, &use));
	watch_end(&w);
	begin(true, 1);
	device.busy[0] = NAN;
	watch_begin(&w, &be, NULL);
	assert_false(w.runs);
	watch_end(&w);
	assert_int_equal(looks(), 1);
	watch_end(&(struct watch){ 0 });
	watch_begin(&w, &cpu_backend, NULL);
	assert_false(w.runs);
}

/* Lets the look that is held go on. */
static void let_go(void)
{
	sem_post(&device.go);
}

static void end(struct watch *w)
{
	pthread_mutex_lock(&device.lock);
	device.quick = INT_MAX;
	pthread_mutex_unlock(&device.lock);
	let_go();
	watch_end(w);
}

/* Every look but the first is held until the test has read.  Were the lock held meanwhile, this would never end. */
static void once_a_second_and_means_of_a_step(void **state)
{
	const double began = seconds_now();
	struct watch w;
	struct device_use use;

	begin(true, 1);
	device.busy[1] = 50;
	device.busy[2] = 80;
	device.slowed[0] = device.slowed[1] = SLOWED_BY_HEAT | SLOWED_BY_POWER;
	device.slowed[2] = SLOWED_BY_HEAT;
	device.others = 2;
	watch_begin(&w, &be, NULL);
	sem_wait(&device.called);
	watch_step(&w);
	assert_true(watch_read(&w, &use));              /* no look in this step: the one before it */
	assert_true(use.figure[USE_BUSY] == 10 && isnan(use.figure[USE_WATTS]));
	let_go();
	sem_wait(&device.called);                       /* the next has begun: that one is written down */
	watch_read(&w, &use);
	assert_true(use.figure[USE_BUSY] == 50);
	assert_int_equal(use.slowed, 0);                /* what lasts for two looks is not told */
	assert_int_equal(use.others, 0);
	let_go();
	sem_wait(&device.called);
	assert_true(seconds_now() - began >= 3);
	watch_read(&w, &use);
	assert_true(use.figure[USE_BUSY] == 65);
	assert_int_equal(use.slowed, SLOWED_BY_HEAT);
	assert_int_equal(use.others, 2);
	watch_step(&w);
	watch_read(&w, &use);
	assert_true(use.figure[USE_BUSY] == 80);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_told_is_no_thread), cmocka_unit_test(once_a_second_and_means_of_a_step),
	};

	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
