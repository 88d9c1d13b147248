/*
 * watch.h - looks at what the device is doing, once a second, beside the running steps.
 *
 * Owns the thread that looks: asking a driver may take milliseconds, and no step waits for it.  What it sees is for the
 * log alone.  Must not know who tells it.
 */
#ifndef TRAIN_WATCH_H
#define TRAIN_WATCH_H

#include <pthread.h>
#include "../backend.h"

enum { WATCH_LASTING = 3 };             /* looks in a row */

struct watch {
	const struct backend *be;
	struct device *device;
	pthread_t thread;
	bool runs;                      /* the thread does: the device tells something */
	pthread_mutex_t lock;           /* of all below */
	pthread_cond_t wake;
	bool ending;
	struct device_use seen[WATCH_LASTING];  /* the last looks, in turn */
	unsigned looks;
	double sum[USE_FIGURES]; unsigned count[USE_FIGURES];
};

/* Looks, and begins to look, where the device tells anything. */
void watch_begin(struct watch *w, const struct backend *be, struct device *d);
void watch_step(struct watch *w);       /* a step begins */
/* The means of the step's looks, or of a step in which there was none, the last one.  What slows the device down, and
 * who else computes on it, is told where it was so in three looks in a row: clocks may be low for a moment when they
 * change.  false: nothing is told. */
bool watch_read(struct watch *w, struct device_use *use);
void watch_end(struct watch *w);        /* accepts one that did not begin */

#endif
