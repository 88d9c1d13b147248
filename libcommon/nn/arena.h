/*
 * arena.h - an arena over one range of addresses with two ends.  Kept records grow up from the low end until a reset;
 * scratch grows down from the high end, and the caller releases it by restoring `high`.
 *
 * For the many small host records of a tape, which are freed together.  Device memory comes from heap.h.
 */
#ifndef NN_ARENA_H
#define NN_ARENA_H

#include <stddef.h>

struct arena {
	char *base;
	size_t size, low, high, peak;   /* in use: [0,low) kept, [high,size) scratch */
};

void arena_init(struct arena *a, void *base, size_t size);
void arena_reset(struct arena *a);              /* empties both ends; peak stays */
void *arena_keep(struct arena *a, size_t bytes);        /* 64-byte aligned; NULL: full */
void *arena_scratch(struct arena *a, size_t bytes);

#endif
