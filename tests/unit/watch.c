/* Looking at a device beside the steps: how often, what belongs to a step, what lasts, and that no step waits. */
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
	bool waits; sem_t called, go;   /* a look that takes as long as the test wants */
} device = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool look(struct device *d, struct device_use *now)
{
	int i;

	pthread_mutex_lock(&device.lock);
	i = device.looks++ < 7 ? device.looks - 1 : 7;
	*now = (struct device_use){ .slowed = device.slowed[i], .others = device.others, .others_bytes = NAN };
	for (int k = 0; k < USE_FIGURES; k++)
		now->figure[k] = NAN;
	now->figure[USE_BUSY] = device.busy[i];
	pthread_mutex_unlock(&device.lock);
	if (device.waits && i > 0) {
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

static void begin(bool tells)
{
	device.looks = device.others = 0;
	device.tells = tells;
	device.waits = false;
	for (int i = 0; i < 8; i++) {
		device.busy[i] = 10;
		device.slowed[i] = 0;
	}
}

static void nothing_told_is_no_thread(void **state)
{
	struct watch w = { 0 };
	struct device_use use;

	begin(false);
	watch_begin(&w, &be, NULL);
	assert_false(w.runs);
	assert_false(watch_read(&w, &use));
	watch_end(&w);
	begin(true);
	device.busy[0] = NAN;
	watch_begin(&w, &be, NULL);
	assert_false(w.runs);
	watch_end(&w);
	assert_int_equal(looks(), 1);
	watch_end(&(struct watch){ 0 });
	watch_begin(&w, &cpu_backend, NULL);
	assert_false(w.runs);
}

/* Until the n-th look, and a moment more, so that it is written down. */
static void wait_for_looks(int n)
{
	for (int tries = 0; looks() < n && tries < 6000; tries++)
		usleep(5000);
	assert_true(looks() >= n);
	usleep(50000);
}

static void once_a_second_and_means_of_a_step(void **state)
{
	const double began = seconds_now();
	struct watch w;
	struct device_use use;

	begin(true);
	device.busy[1] = 50;
	device.busy[2] = 80;
	device.slowed[0] = device.slowed[1] = SLOWED_BY_HEAT | SLOWED_BY_POWER;
	device.slowed[2] = SLOWED_BY_HEAT;
	device.others = 2;
	watch_begin(&w, &be, NULL);
	watch_step(&w);
	assert_true(watch_read(&w, &use));              /* no look in this step: the one before it */
	assert_true(use.figure[USE_BUSY] == 10 && isnan(use.figure[USE_WATTS]));
	assert_int_equal(use.slowed, 0);                /* a moment's is not told */
	assert_int_equal(use.others, 0);
	wait_for_looks(3);
	assert_true(seconds_now() - began >= 2);
	watch_read(&w, &use);
	assert_true(use.figure[USE_BUSY] == 65);
	assert_int_equal(use.slowed, SLOWED_BY_HEAT);
	assert_int_equal(use.others, 2);
	watch_step(&w);
	watch_read(&w, &use);
	assert_true(use.figure[USE_BUSY] == 80);
	watch_end(&w);
	assert_true(looks() <= 1 + (int)(seconds_now() - began));
}

/* Were the lock held during a look, this would never end. */
static void no_step_waits_for_a_look(void **state)
{
	struct watch w;
	struct device_use use;

	begin(true);
	device.waits = true;
	sem_init(&device.called, 0, 0);
	sem_init(&device.go, 0, 0);
	watch_begin(&w, &be, NULL);
	sem_wait(&device.called);
	watch_step(&w);
	assert_true(watch_read(&w, &use));
	assert_true(use.figure[USE_BUSY] == 10);
	sem_post(&device.go);
	watch_end(&w);
	sem_destroy(&device.called);
	sem_destroy(&device.go);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_told_is_no_thread), cmocka_unit_test(once_a_second_and_means_of_a_step),
		cmocka_unit_test(no_step_waits_for_a_look),
	};

	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
