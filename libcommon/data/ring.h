/*
 * ring.h - a pool of threads that compute items ahead; the caller takes the results in order, and only a few exist at
 * a time.
 *
 * Owns threads and slots.  Must not know what the work is.
 */
#ifndef DATA_RING_H
#define DATA_RING_H

#include <stddef.h>

struct ring_job {
	size_t count;                   /* items 0..count-1 */
	int threads;
	size_t slot;                    /* bytes of a result; all zero before work() */
	void *context;
	void (*work)(void *context, size_t item, void *slot);   /* any thread, any order */
	int (*take)(void *context, size_t item, void *slot);    /* the caller's thread, in order; -1 stops everything */
	void (*release)(void *slot);    /* frees what is in a slot, after take() or instead of it; NULL: nothing is */
};

/* 0, or -1 once take() returned it.  All threads have ended either way. */
int ring_run(const struct ring_job *job);
#endif
