/*
 * heap.h - one stretch of addresses with two ends: what is kept lies near the low one, what is inside a block near the high one.
 *
 * A piece is taken where it fits first, seen from its end, and given back at any time; what is inside may also fill a gap between what is
 * kept.  What is kept goes in the reverse order of its coming; what piles up meanwhile is taken from the far side, so that the room between
 * stays in one, and is given back with all the rest.  Only arithmetic: never reads or writes the memory, so it serves device memory and a dry run alike.  Places depend on the order
 * of calls alone and not on the stretch's size: what a dry run needed is what a real one needs.
 */
#ifndef NN_HEAP_H
#define NN_HEAP_H

#include <stdbool.h>
#include <stddef.h>

enum heap_kind { HEAP_KEPT, HEAP_INSIDE, HEAP_PILED };

struct heap_piece {
	size_t at, bytes;               /* at: from the end to the piece's near side */
	enum heap_kind kind;
};

/* pieces are sorted; dense: the first so many have no gap before them, so none is looked for there */
struct heap_end { struct heap_piece *piece; size_t count, capacity, dense; };

struct heap {
	char *base;
	size_t size, peak;              /* peak: the most that the two ends ever spanned together */
	struct heap_end low, high;
};

void heap_init(struct heap *h, void *base, size_t size);
void heap_free(struct heap *h);                                 /* its own lists */
void *heap_take(struct heap *h, enum heap_kind kind, size_t bytes);     /* 64-byte aligned; NULL: full */
void heap_give(struct heap *h, const void *piece);              /* accepts NULL */
bool heap_is_inside(const struct heap *h, const void *piece);
void heap_clear_inside(struct heap *h);
void heap_clear(struct heap *h);                                /* peak stays */

#endif
