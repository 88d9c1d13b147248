/* Device memory: many small allocations out of a few large ones. */
#include <cuda_runtime_api.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include "pool.h"

struct piece {
	char *at;
	size_t bytes;
	bool own;                       /* an allocation of the driver's */
	struct piece *next_free;
};

struct slab {
	char *at;
	size_t bytes, used;
	struct slab *next;
};

struct pool {
	size_t slab;
	struct slab *slabs;
	void *pieces;                   /* tree by address */
	struct piece *free;
};

static int by_address(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	return (x->at > y->at) - (x->at < y->at);
}

struct pool *pool_open(size_t slab)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (p)
		p->slab = slab;
	return p;
}

static void *from_driver(size_t bytes)
{
	void *at = NULL;

	if (cudaMalloc(&at, bytes) == cudaSuccess)
		return at;
	cudaGetLastError();             /* "no memory" is an answer; left behind, the next launch would report it */
	return NULL;
}

/* The oldest slab with so much room, or a new one: small pieces fill what large ones left. */
static struct slab *slab_with(struct pool *p, size_t bytes)
{
	const size_t whole = bytes < p->slab / POOL_SMALL ? p->slab / POOL_SMALL : p->slab;
	struct slab **at = &p->slabs, *s;

	while (*at && (*at)->bytes - (*at)->used < bytes)
		at = &(*at)->next;
	if (*at)
		return *at;
	s = malloc(sizeof(*s));
	if (s)
		*s = (struct slab){ from_driver(whole), whole, 0, NULL };
	if (!s || !s->at) {
		free(s);
		return NULL;
	}
	return *at = s;
}

static struct piece *register_piece(struct pool *p, struct piece new)
{
	struct piece *piece = malloc(sizeof(*piece));

	if (!piece)
		return NULL;
	*piece = new;
	if (!tsearch(piece, &p->pieces, by_address)) {
		free(piece);
		return NULL;
	}
	return piece;
}

/* A released piece that is not twice too large. */
static void *take_again(struct pool *p, size_t bytes)
{
	struct piece **at, *piece;

	for (at = &p->free; (piece = *at); at = &piece->next_free)
		if (piece->bytes >= bytes && piece->bytes / 2 <= bytes) {
			*at = piece->next_free;
			return piece->at;
		}
	return NULL;
}

static void *take_own(struct pool *p, size_t bytes)
{
	char *at = from_driver(bytes);

	if (at && !register_piece(p, (struct piece){ at, bytes, .own = true })) {
		cudaFree(at);
		at = NULL;
	}
	return at;
}

void *pool_take(struct pool *p, size_t bytes)
{
	struct piece *piece;
	struct slab *slab;
	void *again;

	if (bytes > (size_t)-1 - POOL_ALIGN)
		return NULL;
	if (!p->slab)
		return take_own(p, bytes ? bytes : 1);
	bytes = (bytes ? bytes + POOL_ALIGN - 1 : POOL_ALIGN) / POOL_ALIGN * POOL_ALIGN;
	if (bytes >= p->slab / POOL_OWN)
		return take_own(p, bytes);
	again = take_again(p, bytes);
	if (again)
		return again;
	slab = slab_with(p, bytes);
	piece = slab ? register_piece(p, (struct piece){ slab->at + slab->used, bytes }) : NULL;
	if (!piece)
		return NULL;
	slab->used += bytes;
	return piece->at;
}

void pool_give(struct pool *p, void *at)
{
	struct piece key = { .at = at }, **found = at ? tfind(&key, &p->pieces, by_address) : NULL, *piece;

	if (!found)
		return;
	piece = *found;
	if (!piece->own) {
		piece->next_free = p->free;
		p->free = piece;
		return;
	}
	cudaFree(piece->at);
	tdelete(piece, &p->pieces, by_address);
	free(piece);
}

static void forget_piece(void *node)
{
	struct piece *piece = node;

	if (piece->own)
		cudaFree(piece->at);
	free(piece);
}

void pool_close(struct pool *p)
{
	struct slab *s, *next;

	if (!p)
		return;
	tdestroy(p->pieces, forget_piece);
	for (s = p->slabs; s; s = next) {
		next = s->next;
		cudaFree(s->at);
		free(s);
	}
	free(p);
}
