/* The order of samples in an epoch: buckets shuffled, cut into batches, batches shuffled. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../base/philox.h"
#include "order.h"

#define ALL_BATCHES 0xffffffffu         /* the draw that shuffles batches; buckets count from 0 */

struct bucket { int w, h, batch; uint32_t first, count; };     /* entries [first, first+count) of an epoch */

struct order {
	struct bucket *bucket; size_t buckets;
	uint32_t *entry, *shuffled;     /* sample of each entry, by bucket; and in this epoch's order */
	uint32_t entries;
	struct { uint32_t first; int n; } *batch;       /* of shuffled */
	uint32_t *batch_order;
	size_t batches;
	uint32_t epoch;
	uint64_t seed;
};

static int by_size(const void *a, const void *b)
{
	const struct bucket *x = a, *y = b;

	return x->w != y->w ? x->w - y->w : x->h != y->h ? x->h - y->h : x->batch - y->batch;
}

static struct bucket *find_bucket(struct order *o, const struct order_item *item)
{
	struct bucket key = { item->w, item->h, item->batch, 0, 0 };

	return bsearch(&key, o->bucket, o->buckets, sizeof(key), by_size);
}

static void make_buckets(struct order *o, const struct order_item *items, size_t count)
{
	size_t i, kept = 0;
	uint32_t first = 0;

	o->bucket = xcalloc(count, sizeof(*o->bucket));
	for (i = 0; i < count; i++)
		o->bucket[i] = (struct bucket){ items[i].w, items[i].h, items[i].batch, 0, 0 };
	qsort(o->bucket, count, sizeof(*o->bucket), by_size);
	for (i = 0; i < count; i++)
		if (!kept || by_size(&o->bucket[kept - 1], &o->bucket[i]))
			o->bucket[kept++] = o->bucket[i];
	o->buckets = kept;
	for (i = 0; i < count; i++)
		find_bucket(o, &items[i])->count += items[i].repeats;
	for (i = 0; i < o->buckets; i++) {
		o->bucket[i].first = first;
		first += o->bucket[i].count;
	}
	o->entries = first;
}

static void fill_entries(struct order *o, const struct order_item *items, size_t count)
{
	uint32_t *next = xcalloc(o->buckets, sizeof(*next));
	size_t i;
	long r;

	o->entry = xmalloc(o->entries * sizeof(*o->entry));
	o->shuffled = xmalloc(o->entries * sizeof(*o->shuffled));
	for (i = 0; i < count; i++) {
		struct bucket *b = find_bucket(o, &items[i]);
		for (r = 0; r < items[i].repeats; r++)
			o->entry[b->first + next[b - o->bucket]++] = i;
	}
	free(next);
}

static void cut_batches(struct order *o, int batch_size)
{
	size_t i, capacity = 0;
	uint32_t k;

	for (i = 0; i < o->buckets; i++) {
		uint32_t size = o->bucket[i].batch ? o->bucket[i].batch : batch_size;
		for (k = 0; k < o->bucket[i].count; k += size) {
			uint32_t left = o->bucket[i].count - k;
			GROW(o->batch, o->batches, capacity);
			o->batch[o->batches].first = o->bucket[i].first + k;
			o->batch[o->batches++].n = left < size ? left : size;
		}
	}
	o->batch_order = xmalloc(o->batches * sizeof(*o->batch_order));
}

static void shuffle(struct order *o, uint32_t epoch)
{
	uint32_t *index = xmalloc(o->entries * sizeof(*index));
	uint32_t i, k;

	for (i = 0; i < o->buckets; i++) {
		const struct bucket *b = &o->bucket[i];
		random_permutation(&(struct random){ o->seed, RANDOM_ORDER, epoch, i }, index, b->count);
		for (k = 0; k < b->count; k++)
			o->shuffled[b->first + k] = o->entry[b->first + index[k]];
	}
	free(index);
	random_permutation(&(struct random){ o->seed, RANDOM_ORDER, epoch, ALL_BATCHES }, o->batch_order, o->batches);
	o->epoch = epoch;
}

struct order *order_new(const struct order_item *items, size_t count, int batch_size, uint64_t seed)
{
	struct order *o = xcalloc(1, sizeof(*o));

	o->seed = seed;
	make_buckets(o, items, count);
	fill_entries(o, items, count);
	cut_batches(o, batch_size);
	shuffle(o, 0);
	return o;
}

void order_free(struct order *o)
{
	if (!o)
		return;
	free(o->bucket);
	free(o->entry);
	free(o->shuffled);
	free(o->batch);
	free(o->batch_order);
	free(o);
}

size_t order_batches(const struct order *o)
{
	return o->batches;
}

struct order_batch order_batch(struct order *o, uint32_t epoch, size_t i)
{
	if (epoch != o->epoch)
		shuffle(o, epoch);
	return (struct order_batch){ o->shuffled + o->batch[o->batch_order[i]].first, o->batch[o->batch_order[i]].n };
}

long order_updates_per_epoch(const struct order *o, int accumulate)
{
	return (o->batches + accumulate - 1) / accumulate;
}

struct order_place order_place(const struct order *o, long k, int accumulate)
{
	long per_epoch = order_updates_per_epoch(o, accumulate);
	size_t first = (size_t)(k % per_epoch) * accumulate, left = o->batches - first;

	return (struct order_place){ k / per_epoch, first, left < (size_t)accumulate ? (int)left : accumulate };
}
