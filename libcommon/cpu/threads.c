/*
 * threads.c - the device's threads, and how a loop is shared among them.
 *
 * Not OpenMP's: its barriers wait for every thread of the team, also for one that the system has not scheduled yet, so
 * on a machine that others use too a step of the small model took ten times as long with two threads as with one.  Here
 * a thread joins a loop while there is something left of it, and nobody waits for one that has not come.
 */
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../base/thread.h"
#include "internal.h"

/* How often an idle thread looks for a new loop before it sleeps: some 50 microseconds, which is longer than the pause
 * between two operations of a step, and not longer than a wake-up takes. */
enum { PATIENCE = 2000 };

struct loop { struct device *d; task_fn *f; const void *arg; };

/* Every thread has its own range of the tasks, so that from loop to loop the same rows stay in the same cache.  A
 * thread that has finished its range takes tasks of the others. */
struct stretch { _Alignas(64) _Atomic int next; int end; };

struct pool {
	struct loop loop;
	struct stretch *stretch;        /* [count + 1] */
	_Atomic int open;               /* the loop may be joined */
	_Atomic int active;             /* threads that may be looking at it */
	_Atomic unsigned loops;         /* how many there were; what sleepers watch */
	_Atomic int sleepers;
	_Atomic int ending;
	int count;                      /* threads besides the caller */
	struct worker { struct pool *pool; pthread_t thread; int number; } worker[];
};

static void relax(void)
{
#ifdef __x86_64__
	__builtin_ia32_pause();
#endif
}

static void take_stretch(struct pool *p, struct stretch *s, int thread)
{
	int i;

	while ((i = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed)) < s->end)
		p->loop.f(p->loop.d, p->loop.arg, i, thread);
}

static void take_tasks(struct pool *p, int thread)
{
	int i;

	for (i = 0; i <= p->count; i++)
		take_stretch(p, &p->stretch[(thread + i) % (p->count + 1)], thread);
}

static void share_out(struct pool *p, int tasks, int shares)
{
	int i;

	for (i = 0; i <= p->count; i++) {
		atomic_store_explicit(&p->stretch[i].next, (long)tasks * smaller(i, shares) / shares,
				      memory_order_relaxed);
		p->stretch[i].end = (long)tasks * smaller(i + 1, shares) / shares;
	}
}

/* Counted as active before looking whether the loop is open: the caller closes it before counting. */
static void join_loop(struct pool *p, int thread)
{
	atomic_fetch_add(&p->active, 1);
	if (atomic_load(&p->open))
		take_tasks(p, thread);
	atomic_fetch_sub(&p->active, 1);
}

static void pause_again(int times)
{
	if (times < PATIENCE)
		relax();
	else
		sched_yield();
}

void await_value(const _Atomic int *at, int least)
{
	for (int i = 0; atomic_load(at) < least; i++)
		pause_again(i);
}

static void await_loop(struct pool *p, unsigned seen)
{
	int i;

	for (i = 0; i < PATIENCE; i++) {
		if (atomic_load_explicit(&p->loops, memory_order_acquire) != seen)
			return;
		relax();
	}
	atomic_fetch_add(&p->sleepers, 1);
	while (atomic_load(&p->loops) == seen)
		syscall(SYS_futex, &p->loops, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
	atomic_fetch_sub(&p->sleepers, 1);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct pool *p = w->pool;
	unsigned seen = 0, loops;

	while (!atomic_load(&p->ending)) {
		await_loop(p, seen);
		loops = atomic_load(&p->loops);
		join_loop(p, w->number);
		seen = loops;
	}
	return NULL;
}

static void announce(struct pool *p)
{
	atomic_fetch_add(&p->loops, 1);
	if (atomic_load(&p->sleepers))
		syscall(SYS_futex, &p->loops, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void run_shares(struct device *d, int tasks, double work_estimate, task_fn *f, const void *arg, int shares)
{
	struct pool *p = d->pool;
	int i;

	if (!p || tasks < 2 || work_estimate < WORTH_THREADS) {
		for (i = 0; i < tasks; i++)
			f(d, arg, i, 0);
		return;
	}
	p->loop = (struct loop){ d, f, arg };
	share_out(p, tasks, shares);
	atomic_store(&p->open, 1);
	announce(p);
	take_tasks(p, 0);
	atomic_store(&p->open, 0);
	for (i = 0; atomic_load(&p->active); i++)
		pause_again(i);
}

void run_tasks(struct device *d, int tasks, double work_estimate, task_fn *f, const void *arg)
{
	run_shares(d, tasks, work_estimate, f, arg, d->pool ? d->pool->count + 1 : 1);
}

void run_in_order(struct device *d, int tasks, double work_estimate, task_fn *f, const void *arg)
{
	run_shares(d, tasks, work_estimate, f, arg, 1);
}

struct pool *pool_new(int threads)
{
	struct pool *p = calloc(1, sizeof(*p) + (size_t)threads * sizeof(*p->worker));

	if (p)
		p->stretch = aligned_alloc(64, threads * sizeof(*p->stretch));
	if (!p || !p->stretch) {
		free(p);
		return NULL;
	}
	for (; p->count < threads - 1; p->count++) {
		struct worker *w = &p->worker[p->count];

		*w = (struct worker){ .pool = p, .number = p->count + 1 };
		if (thread_start(&w->thread, work, w))
			break;          /* fewer threads give the same result */
	}
	return p;
}

void pool_free(struct pool *p)
{
	int i;

	if (!p)
		return;
	atomic_store(&p->ending, 1);
	announce(p);
	for (i = 0; i < p->count; i++)
		pthread_join(p->worker[i].thread, NULL);
	free(p->stretch);
	free(p);
}
