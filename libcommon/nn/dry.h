/*
 * dry.h - a backend that takes every call and does nothing, so that networks, an adapter and a step can be made for their memory alone.
 *
 * Its device counts what is allocated, as a real one's allocator would round it.  Nothing is subtracted: what is released while things
 * are made is not counted here.  Must not know what the memory is for.
 */
#ifndef NN_DRY_H
#define NN_DRY_H

#include "../backend.h"

/* Every allocation is a multiple of align.  From own bytes on it is the system's and a multiple of page; smaller ones share slabs of so many
 * bytes (0: no slabs). */
struct dry_rules { size_t align, own, page, slab; bool hosts; };        /* hosts: takes heed of a weight's on_host */
/* What was asked for, as multiples of align; what is taken from the system for it; frozen weights that stay in host memory. */
struct dry_bytes { size_t asked, taken, host; };

struct device *dry_device_new(const struct dry_rules *rules);           /* of dry_backend, which closes it */
struct dry_bytes dry_device_bytes(const struct device *d);

#endif
