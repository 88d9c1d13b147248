/*
 * pool.h - a pool of device memory: many small allocations (pieces) out of a few large ones (slabs).
 *
 * An adapter is some thousands of tensors, and cudaMalloc gives each of them whole pages of up to 2 MiB.  Pieces are
 * 256-byte aligned.  A piece of at least half a slab is an allocation of the driver's, and freed at once; a smaller one
 * goes to a free list, for the next that fits.  Small ones, where no slab has room for them, open a small one: they
 * come last, and a large one's end would stay unused.  Must not know what the memory is for, nor run inside a step.
 */
#ifndef CUDA_POOL_H
#define CUDA_POOL_H

#include <stddef.h>

struct pool;

/* Parts of a slab: what is the driver's own from there on; a small slab, and what opens one below that.  lora-train
 * --plan counts by these: libcommon/train/plan/plan.c. */
enum { POOL_ALIGN = 256, POOL_OWN = 2, POOL_SMALL = 8 };

/* slab: bytes of a large allocation; 0: every piece is the driver's own, so that tools see each one's ends */
struct pool *pool_open(size_t slab);             /* NULL: no memory on the host */
void  pool_close(struct pool *p);                /* frees all pieces too; accepts NULL */
void *pool_take(struct pool *p, size_t bytes);  /* NULL: no memory */
void  pool_give(struct pool *p, void *piece);   /* accepts NULL */

#endif
