/* Threads that compute items ahead into a ring of slots, from which the caller takes them in order. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../base/thread.h"
#include "ring.h"

struct ring {
	const struct ring_job *job;
	pthread_mutex_t lock;
	pthread_cond_t room, ready;     /* a slot became free; a result became ready */
	size_t next, taken, slots;      /* items next..: nobody works on them; ..taken: gone */
	bool stop;
	bool *done;
	unsigned char *slot;
};

static void *slot_of(const struct ring *r, size_t item)
{
	return r->slot + item % r->slots * r->job->slot;
}

static void release(const struct ring *r, void *slot)
{
	if (r->job->release)
		r->job->release(slot);
}

static void *worker(void *argument)
{
	struct ring *r = argument;

	pthread_mutex_lock(&r->lock);
	for (;;) {
		size_t item;
		while (!r->stop && r->next < r->job->count && r->next >= r->taken + r->slots)
			pthread_cond_wait(&r->room, &r->lock);
		if (r->stop || r->next >= r->job->count)
			break;
		item = r->next++;
		pthread_mutex_unlock(&r->lock);
		r->job->work(r->job->context, item, slot_of(r, item));
		pthread_mutex_lock(&r->lock);
		r->done[item % r->slots] = true;
		pthread_cond_signal(&r->ready);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

static int take_all(struct ring *r)
{
	int status = 0;

	pthread_mutex_lock(&r->lock);
	for (size_t item = 0; status == 0 && item < r->job->count; item++) {
		while (!r->done[item % r->slots])
			pthread_cond_wait(&r->ready, &r->lock);
		pthread_mutex_unlock(&r->lock);
		status = r->job->take(r->job->context, item, slot_of(r, item));
		release(r, slot_of(r, item));
		memset(slot_of(r, item), 0, r->job->slot);
		pthread_mutex_lock(&r->lock);
		r->done[item % r->slots] = false;
		r->taken++;
		pthread_cond_broadcast(&r->room);
	}
	r->stop = true;
	pthread_cond_broadcast(&r->room);
	pthread_mutex_unlock(&r->lock);
	return status;
}

int ring_run(const struct ring_job *job)
{
	struct ring r = { .job = job,
			  .lock = PTHREAD_MUTEX_INITIALIZER,
			  .room = PTHREAD_COND_INITIALIZER,
			  .ready = PTHREAD_COND_INITIALIZER,
			  .slots = 2 * (size_t)job->threads };
	pthread_t *thread = xmalloc(job->threads * sizeof(*thread));
	int started = 0, status;

	r.slot = xcalloc(r.slots, job->slot);
	r.done = xcalloc(r.slots, sizeof(*r.done));
	while (started < job->threads && thread_start(&thread[started], worker, &r) == 0)
		started++;
	if (!started)
		die(EXIT_MEMORY, "cannot start a thread; lower -j, or end other programs");
	status = take_all(&r);
	for (int i = 0; i < started; i++)
		pthread_join(thread[i], NULL);
	for (size_t i = 0; i < r.slots; i++)
		release(&r, r.slot + i * job->slot);
	free(r.slot);
	free(r.done);
	free(thread);
	return status;
}
