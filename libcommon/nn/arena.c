/* An arena with two ends, for small host records. */
#include "arena.h"

#define ALIGN 64

void arena_init(struct arena *a, void *base, size_t size)
{
	*a = (struct arena){ .base = base, .size = size / ALIGN * ALIGN };
	a->high = a->size;
}

void arena_reset(struct arena *a)
{
	a->low = 0;
	a->high = a->size;
}

static size_t rounded(size_t bytes)
{
	return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static void note_peak(struct arena *a)
{
	size_t used = a->low + a->size - a->high;

	if (used > a->peak)
		a->peak = used;
}

void *arena_keep(struct arena *a, size_t bytes)
{
	void *p = a->base + a->low;

	if (a->high - a->low < rounded(bytes))
		return NULL;
	a->low += rounded(bytes);
	note_peak(a);
	return p;
}

void *arena_scratch(struct arena *a, size_t bytes)
{
	if (a->high - a->low < rounded(bytes))
		return NULL;
	a->high -= rounded(bytes);
	note_peak(a);
	return a->base + a->high;
}
