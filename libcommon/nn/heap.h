/*
 * heap.h - a first-fit allocator over one range of addresses with two ends, for a tape's activations and gradients.
 *
 * Pieces grow from the low end upwards and from the high end downwards, and are freed in any order.  A gap is free
 * memory between two pieces of one end.  Where a piece goes depends on its kind (tape.h says which tensor has which):
 *
 *     HEAP_KEPT    low end: the first gap that is large enough, else behind the last piece
 *     HEAP_INSIDE  high end, in the same way; but before the high end grows, the first large enough gap of the low end
 *     HEAP_PILED   low end: the last gap that is large enough, at its upper side, else behind the last piece
 *
 * Backward frees kept pieces newest first, and meanwhile gradients of parameters arrive, which stay (HEAP_PILED).  They
 * take a gap from its upper side, so that the rest of it stays in one; neighbours become one piece, freed by
 * heap_clear() only.
 *
 * Only arithmetic: the memory is never read or written, so that this serves device memory and a dry run alike.
 * Addresses depend on the order of calls alone, not on the size of the range: a real run needs what a dry run needed.
 */
#ifndef NN_HEAP_H
#define NN_HEAP_H

#include <stdbool.h>
#include <stddef.h>

enum heap_kind { HEAP_KEPT, HEAP_INSIDE, HEAP_PILED };

struct heap_piece {
	size_t at, bytes;               /* at: bytes between the end and the piece */
	enum heap_kind kind;
};

/* Pieces are sorted by at.  dense: the first `dense` pieces have no gap before them,
 * so the search starts behind them. */
struct heap_end { struct heap_piece *piece; size_t count, capacity, dense; };

struct heap {
	char *base;
	size_t size, peak;              /* peak: the most bytes that both ends spanned together, gaps included */
	struct heap_end low, high;
};

void heap_init(struct heap *h, void *base, size_t size);
void heap_free(struct heap *h);                                 /* its own lists, not the memory */
void *heap_take(struct heap *h, enum heap_kind kind, size_t bytes);     /* 64-byte aligned; NULL: full */
void heap_give(struct heap *h, const void *piece);              /* frees it; accepts NULL */
bool heap_is_inside(const struct heap *h, const void *piece);   /* is it of kind HEAP_INSIDE? */
void heap_clear_inside(struct heap *h);                         /* frees all pieces of kind HEAP_INSIDE */
void heap_clear(struct heap *h);                                /* frees all pieces; peak stays */

#endif
