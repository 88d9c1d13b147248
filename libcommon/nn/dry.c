/* The dry backend: it counts allocations and computes nothing. */
#include <stdlib.h>
#include "../base/memory.h"
#include "../base/ring.h"
#include "dry.h"

/* Rules without rounding, for a dry backend that is not asked for its bytes. */
static const struct dry_rules exact = { .align = 1, .page = 1 };

struct device {
	struct dry_rules rules;
	struct dry_bytes bytes;
	size_t *left, slabs, capacity;  /* in each slab */
	size_t visits;                  /* bytes of the ring for weights that come from host memory */
};

struct device *dry_device_new(const struct dry_rules *rules)
{
	struct device *d = xcalloc(1, sizeof(*d));

	d->rules = *rules;
	return d;
}

static struct device *dry_open(struct error *e) { return dry_device_new(&exact); }

static enum dtype dry_inner(struct device *d, enum dtype weights, int head)
{
	return d->rules.halves ? inner_on_card(weights, head) : DTYPE_F32;
}

static void dry_close(struct device *d)
{
	if (d)
		free(d->left);
	free(d);
}

static size_t rounded(size_t bytes, size_t to)
{
	return (bytes + to - 1) / to * to;
}

/* The ring for weights of the host's is an allocation of the system's; a larger one takes its place. */
struct dry_bytes dry_device_bytes(const struct device *d)
{
	struct dry_bytes all = d->bytes;

	all.asked += d->visits;
	all.taken += rounded(d->visits, d->rules.page);
	return all;
}

static void count_in_slab(struct device *d, size_t bytes)
{
	const size_t whole = bytes < d->rules.small ? d->rules.small : d->rules.slab;
	size_t i;

	for (i = 0; i < d->slabs && d->left[i] < bytes; i++)
		;
	if (i == d->slabs) {
		GROW(d->left, d->slabs, d->capacity);
		d->left[d->slabs++] = whole;
		d->bytes.taken += whole;
	}
	d->left[i] -= bytes;
}

static void count(struct device *d, size_t bytes)
{
	const struct dry_rules *r = &d->rules;
	const size_t asked = rounded(bytes ? bytes : 1, r->align);

	d->bytes.asked += asked;
	if (asked >= r->own)
		d->bytes.taken += rounded(asked, r->page);
	else if (r->slab)
		count_in_slab(d, asked);
	else
		d->bytes.taken += asked;
}

/* An address that nobody dereferences; heaps only add to it. */
static void *dry_alloc(struct device *d, size_t bytes)
{
	if (d)
		count(d, bytes);
	return (void *)(uintptr_t)(1 << 20);
}

static int dry_prepare(struct device *d, struct weight *w, const void *host)
{
	const size_t bytes = weight_bytes(w);

	w->data = dry_alloc(NULL, bytes);
	if (w->placed)
		return 0;
	if (d && w->on_host && d->rules.hosts) {
		d->bytes.host += bytes;
		if (ring_for(bytes) > d->visits)
			d->visits = ring_for(bytes);
	} else if (d) {
		count(d, bytes);
	}
	return 0;
}

static void dry_unprepare(struct device *d, struct weight *w) { w->data = NULL; }

/* All functions that allocate nothing do nothing. */
#define OP(type, name, parameters) static type dry_##name parameters { return (type)0; }
#define MEMORY(type, name, parameters)
#include "../backend_ops.def"

const struct backend dry_backend = {
	.name = "dry",
#define OP(type, name, parameters) .name = dry_##name,
#include "../backend_ops.def"
};
