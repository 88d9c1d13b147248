/*
 * arena.h - one stretch of addresses with two ends: what is kept grows up, scratch grows down and is released by mark.
 *
 * For the many small records of a tape, which go all at once; device memory is heap.h's.
 */
#ifndef NN_ARENA_H
#define NN_ARENA_H

#include <stddef.h>

struct arena {
	char *base;
	size_t size, low, high, peak;   /* in use: [0,low) kept, [high,size) scratch */
};

void arena_init(struct arena *a, void *base, size_t size);
void arena_reset(struct arena *a);              /* peak stays */
void *arena_keep(struct arena *a, size_t bytes);        /* 64-byte aligned; NULL: full */
void *arena_scratch(struct arena *a, size_t bytes);

#endif
