/* A first-fit allocator over one range of addresses with two ends. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "heap.h"

#define ALIGN 64

void heap_init(struct heap *h, void *base, size_t size)
{
	*h = (struct heap){ .base = base, .size = size / ALIGN * ALIGN };
}

void heap_free(struct heap *h)
{
	free(h->low.piece);
	free(h->high.piece);
}

static size_t end_of(const struct heap_piece *p)
{
	return p->at + p->bytes;
}

static size_t extent(const struct heap_end *e)
{
	return e->count ? end_of(&e->piece[e->count - 1]) : 0;
}

/* First fit: sets *at to the first gap of so many bytes and returns the index of the piece behind it, or e->count for
 * the free memory behind the last piece. */
static size_t find_gap(const struct heap_end *e, size_t bytes, size_t *at)
{
	size_t i;

	*at = e->dense ? end_of(&e->piece[e->dense - 1]) : 0;
	for (i = e->dense; i < e->count && e->piece[i].at - *at < bytes; i++)
		*at = end_of(&e->piece[i]);
	return i;
}

static void settle(struct heap_end *e)
{
	while (e->dense < e->count && e->piece[e->dense].at == (e->dense ? end_of(&e->piece[e->dense - 1]) : 0))
		e->dense++;
}

static void insert(struct heap_end *e, size_t i, struct heap_piece piece)
{
	GROW(e->piece, e->count, e->capacity);
	memmove(&e->piece[i + 1], &e->piece[i], (e->count - i) * sizeof(piece));
	e->piece[i] = piece;
	e->count++;
	settle(e);
}

static void erase(struct heap_end *e, size_t i)
{
	e->count--;
	e->dense = i < e->dense ? i : e->dense;
	memmove(&e->piece[i], &e->piece[i + 1], (e->count - i) * sizeof(*e->piece));
}

/* Last fit: the same for the upper side of the last gap that is large enough. */
static size_t find_far_gap(const struct heap_end *e, size_t bytes, size_t *at)
{
	size_t i;

	for (i = e->count; i > e->dense; i--) {
		const size_t begins = i > 1 ? end_of(&e->piece[i - 2]) : 0;
		if (e->piece[i - 1].at - begins >= bytes) {
			*at = e->piece[i - 1].at - bytes;
			return i - 1;
		}
	}
	*at = extent(e);
	return e->count;
}

struct place { struct heap_end *end; size_t i, at; };

static struct place find_place(struct heap *h, enum heap_kind kind, size_t bytes)
{
	struct place p = { kind == HEAP_INSIDE ? &h->high : &h->low }, low = { &h->low };

	if (kind == HEAP_PILED) {
		p.i = find_far_gap(p.end, bytes, &p.at);
		return p;
	}
	p.i = find_gap(p.end, bytes, &p.at);
	if (kind == HEAP_KEPT || p.i < p.end->count)
		return p;
	low.i = find_gap(low.end, bytes, &low.at);
	return low.i < low.end->count ? low : p;
}

/* Extends the HEAP_PILED piece right above the place, if there is one. */
static bool add_to_pile(const struct place *p, enum heap_kind kind, size_t bytes)
{
	struct heap_piece *next = p->i < p->end->count ? &p->end->piece[p->i] : NULL;

	if (kind != HEAP_PILED || !next || next->kind != HEAP_PILED || next->at != p->at + bytes)
		return false;
	next->at = p->at;
	next->bytes += bytes;
	settle(p->end);
	return true;
}

void *heap_take(struct heap *h, enum heap_kind kind, size_t bytes)
{
	const size_t wanted = (bytes + (bytes == 0) + ALIGN - 1) / ALIGN * ALIGN;
	const struct place p = find_place(h, kind, wanted);
	const size_t other = extent(p.end == &h->low ? &h->high : &h->low);
	size_t used;

	if (p.i == p.end->count && (p.at > h->size || h->size - p.at < wanted || h->size - p.at - wanted < other))
		return NULL;
	if (!add_to_pile(&p, kind, wanted))
		insert(p.end, p.i, (struct heap_piece){ p.at, wanted, kind });
	used = extent(&h->low) + extent(&h->high);
	h->peak = used > h->peak ? used : h->peak;
	return h->base + (p.end == &h->low ? p.at : h->size - p.at - wanted);
}

/* The index of the piece at an offset, by binary search. */
static size_t find_piece(const struct heap *h, const struct heap_end *e, size_t offset)
{
	size_t first = 0, behind = e->count;

	while (first < behind) {
		const size_t middle = (first + behind) / 2;
		const struct heap_piece *p = &e->piece[middle];
		const size_t begins = e == &h->low ? p->at : h->size - end_of(p);
		if (begins == offset)
			return middle;
		if ((begins < offset) == (e == &h->low))
			first = middle + 1;
		else
			behind = middle;
	}
	die(EXIT_OTHER, "memory of the tape is given back twice; this is a bug in lora-tools");
}

static struct heap_end *find(const struct heap *h, const void *piece, size_t *i)
{
	const size_t offset = (const char *)piece - h->base;
	const struct heap_end *e = offset < extent(&h->low) ? &h->low : &h->high;

	*i = find_piece(h, e, offset);
	return (struct heap_end *)e;
}

void heap_give(struct heap *h, const void *piece)
{
	struct heap_end *e;
	size_t i;

	if (!piece)
		return;
	e = find(h, piece, &i);
	erase(e, i);
}

bool heap_is_inside(const struct heap *h, const void *piece)
{
	size_t i;
	const struct heap_end *e = find(h, piece, &i);

	return e->piece[i].kind == HEAP_INSIDE;
}

void heap_clear_inside(struct heap *h)
{
	size_t i, n = 0;

	h->high.count = h->high.dense = 0;
	for (i = 0; i < h->low.count; i++)
		if (h->low.piece[i].kind != HEAP_INSIDE)
			h->low.piece[n++] = h->low.piece[i];
		else if (h->low.dense > n)
			h->low.dense = n;
	h->low.count = n;
}

void heap_clear(struct heap *h)
{
	h->low.count = h->low.dense = h->high.count = h->high.dense = 0;
}
