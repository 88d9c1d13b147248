/*
 * dry.h - the dry backend: it accepts every call and does nothing, so that networks, adapters and a step can be built
 * just to measure their memory.
 *
 * Its device counts what is allocated, rounded as a real device's allocator rounds.  Releases are not subtracted.  Must
 * not know what the memory is for.
 */
#ifndef NN_DRY_H
#define NN_DRY_H

#include "../backend.h"

/* How a real allocator rounds.  Every allocation is a multiple of align.  One of at least `own` bytes is an allocation
 * of the system's, a multiple of page; smaller ones share slabs of `slab` bytes (0: no slabs), but one below `small`
 * bytes that finds no room in any opens one of as many.  hosts: a weight with on_host set is counted as host memory.
 * halves: activations lie in half precision where weights do. */
struct dry_rules { size_t align, own, page, slab, small; bool hosts, halves; };
/* Bytes asked for, as multiples of align; bytes taken from the system for them; frozen weights in host memory. */
struct dry_bytes { size_t asked, taken, host; };

struct device *dry_device_new(const struct dry_rules *rules);           /* closed by dry_backend.close() */
struct dry_bytes dry_device_bytes(const struct device *d);

#endif
