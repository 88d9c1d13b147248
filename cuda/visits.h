/*
 * visits.h - weights that stay in host memory and visit the card: through a ring of device memory, on a stream of their
 * own.
 *
 * The host calls a step's products far ahead of the card, and a graph holds all of them: so the copies of the next
 * weights run while the card computes with those before, in whatever order a network reads them, forward or backward.
 * A weight's copy waits until the products that read what it takes the place of have ended; the product that reads it
 * waits for the copy.  The host waits for neither.  What is still there is not copied again: a checkpointed block's
 * backward finds most of what its second forward brought.
 *
 * Owns the ring, its stream and its events.  Must not know shapes or types.
 */
#ifndef CUDA_VISITS_H
#define CUDA_VISITS_H

#include <stddef.h>

struct device;
struct visits;

/* Sees to it that a weight of so many bytes can visit.  -1: no memory.  A larger ring lies elsewhere. */
int visits_room(struct device *d, size_t bytes);
void visits_free(struct visits *v);             /* accepts NULL; nothing may run any more */
/* Bytes that can visit at once. */
size_t visits_most(const struct device *d);
/* Its bytes on the card, for what is called until the next visit; of several weights one behind the other, which come
 * together whenever the first of them does. */
struct visitor { const void *pinned; size_t bytes; };
const void *visit(struct device *d, const struct visitor *of, int count);
/* The ring is empty, and what its stream has copied is awaited: the begin and the end of a step, of which a graph may
 * know nothing and leave nothing.  Its memory until the next visit; NULL: there is none. */
void *visits_end(struct device *d);
void visits_forget(struct device *d, const void *pinned);       /* this one is freed, or another one soon */

#endif
