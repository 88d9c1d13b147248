/*
 * order.h - the order of samples, a pure function of (seed, epoch).
 *
 * A bucket's samples (each as often as its repeats say) are shuffled and cut into batches, of which the last may be
 * smaller; then all batches are shuffled.  Must not know more of a sample than its bucket and repeats.
 */
#ifndef TRAIN_ORDER_H
#define TRAIN_ORDER_H

#include <stddef.h>
#include <stdint.h>

struct order_item {
	int w, h;                       /* the bucket of sample i */
	long repeats;
	/* its own batch size; 0: that of order_new().  It then shares no batch with others. */
	int batch;
};

struct order_batch {
	const uint32_t *sample;         /* [n] indices of samples, all of one bucket */
	int n;
};

struct order;
struct order *order_new(const struct order_item *items, size_t count, int batch_size, uint64_t seed);
void order_free(struct order *o);                               /* accepts NULL */
size_t order_batches(const struct order *o);                    /* an epoch; at least 1 */
/* Batch i of the epoch.  The pointer holds until the next call. */
struct order_batch order_batch(struct order *o, uint32_t epoch, size_t i);

/* The place of update k (from 0) in its epoch, where each update takes `accumulate` batches and the last one of an
 * epoch may take fewer, as kohya does. */
struct order_place { uint32_t epoch; size_t first; int batches; };
struct order_place order_place(const struct order *o, long k, int accumulate);
long order_updates_per_epoch(const struct order *o, int accumulate);

#endif
