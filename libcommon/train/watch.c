/* Looking at the device once a second: the thread, and what of its looks belongs to a step. */
#include <math.h>
#include <string.h>
#include <time.h>
#include "../base/thread.h"
#include "watch.h"

static void add(struct watch *w, const struct device_use *now)
{
	w->seen[w->looks++ % WATCH_LASTING] = *now;
	for (int i = 0; i < USE_FIGURES; i++)
		if (!isnan(now->figure[i])) {
			w->sum[i] += now->figure[i];
			w->count[i]++;
		}
}

static void *look_on(void *argument)
{
	struct watch *w = argument;
	struct timespec next;

	clock_gettime(CLOCK_MONOTONIC, &next);
	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct device_use now;
		bool told;

		next.tv_sec++;
		while (!w->ending && pthread_cond_timedwait(&w->wake, &w->lock, &next) == 0)
			;
		if (w->ending)
			break;
		pthread_mutex_unlock(&w->lock);
		told = w->be->look(w->device, &now);
		clock_gettime(CLOCK_MONOTONIC, &next);
		pthread_mutex_lock(&w->lock);
		if (told)
			add(w, &now);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static bool tells_anything(const struct device_use *now)
{
	int i;

	for (i = 0; i < USE_FIGURES && isnan(now->figure[i]); i++)
		;
	return i < USE_FIGURES;
}

void watch_begin(struct watch *w, const struct backend *be, struct device *d)
{
	struct device_use now;
	pthread_condattr_t monotonic;

	*w = (struct watch){ .be = be, .device = d };
	if (!be->look(d, &now) || !tells_anything(&now))
		return;
	add(w, &now);
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	w->runs = thread_start(&w->thread, look_on, w) == 0;
}

void watch_step(struct watch *w)
{
	if (!w->runs)
		return;
	pthread_mutex_lock(&w->lock);
	memset(w->count, 0, sizeof(w->count));
	memset(w->sum, 0, sizeof(w->sum));
	pthread_mutex_unlock(&w->lock);
}

bool watch_read(struct watch *w, struct device_use *use)
{
	if (!w->runs)
		return false;
	pthread_mutex_lock(&w->lock);
	*use = w->seen[(w->looks - 1) % WATCH_LASTING];
	for (int i = 0; i < USE_FIGURES; i++)
		if (w->count[i])
			use->figure[i] = w->sum[i] / w->count[i];
	for (unsigned i = 0; i < WATCH_LASTING; i++) {
		use->slowed &= w->seen[i].slowed;
		use->others = w->seen[i].others < use->others ? w->seen[i].others : use->others;
	}
	pthread_mutex_unlock(&w->lock);
	return true;
}

void watch_end(struct watch *w)
{
	if (!w->runs)
		return;
	pthread_mutex_lock(&w->lock);
	w->ending = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	w->runs = false;
}
