/*
 * ring.h - which pieces lie in a ring of memory, and where: a new one takes the place of the oldest.
 *
 * All in the header, for two who must agree to the piece: cuda/visits.c, in a shared object of its own, and the count
 * of what it copies (nn/counting.c).  Must not know the memory itself.
 */
#ifndef BASE_RING_H
#define BASE_RING_H

#include <stdbool.h>
#include <stddef.h>

enum { RING_PIECES = 32, RING_ALIGN = 256 };

struct ring_piece { const void *of; size_t at, bytes; };        /* of NULL: nobody's any more */
struct ring {
	size_t bytes;
	struct ring_piece piece[RING_PIECES];   /* count of them from the first on, round the end; the oldest first */
	int first, count;
};

/* Bytes of a ring in which the largest piece comes while another one is read. */
static inline size_t ring_for(size_t largest)
{
	return 2 * ((largest + RING_ALIGN - 1) / RING_ALIGN * RING_ALIGN);
}

static inline void ring_clear(struct ring *r)
{
	r->first = r->count = 0;
}

static inline struct ring_piece *ring_nth(struct ring *r, int n)
{
	return &r->piece[(r->first + n) % RING_PIECES];
}

/* Below 0: it is not there, in that size. */
static inline int ring_find(struct ring *r, const void *of, size_t bytes)
{
	for (int i = 0; i < r->count; i++)
		if (ring_nth(r, i)->of == of && ring_nth(r, i)->bytes == bytes)
			return ring_nth(r, i) - r->piece;
	return -1;
}

/* Where a new piece comes: behind the newest, or at 0. */
static inline size_t ring_place(struct ring *r, size_t bytes)
{
	size_t end = 0;

	if (r->count)
		end = ring_nth(r, r->count - 1)->at + ring_nth(r, r->count - 1)->bytes;
	end = (end + RING_ALIGN - 1) / RING_ALIGN * RING_ALIGN;
	return end + bytes <= r->bytes ? end : 0;
}

/* Something is in the way of a piece there.  The oldest goes then, until nothing is. */
static inline bool ring_is_taken(struct ring *r, size_t at, size_t bytes)
{
	for (int i = 0; i < r->count; i++)
		if (ring_nth(r, i)->at < at + bytes && at < ring_nth(r, i)->at + ring_nth(r, i)->bytes)
			return true;
	return r->count == RING_PIECES;
}

/* The number of the oldest in piece[], which goes. */
static inline int ring_drop(struct ring *r)
{
	const int oldest = r->first;

	r->first = (r->first + 1) % RING_PIECES;
	r->count--;
	return oldest;
}

/* The number of the new one in piece[]. */
static inline int ring_put(struct ring *r, const void *of, size_t at, size_t bytes)
{
	*ring_nth(r, r->count++) = (struct ring_piece){ of, at, bytes };
	return ring_nth(r, r->count - 1) - r->piece;
}

/* Its memory may be another's next. */
static inline void ring_forget(struct ring *r, const void *of)
{
	for (int i = 0; i < r->count; i++)
		if (ring_nth(r, i)->of == of)
			ring_nth(r, i)->of = NULL;
}

#endif
