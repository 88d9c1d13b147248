/*
 * order.h - which samples a step sees: a pure function of (seed, epoch).
 *
 * A bucket's samples (each as often as its repeats say) are shuffled and cut into batches, the last one short; then all batches are
 * shuffled.  Must not know what a sample holds beyond its bucket and repeats.
 */
#ifndef TRAIN_ORDER_H
#define TRAIN_ORDER_H

#include <stddef.h>
#include <stdint.h>

struct order_item {
	int w, h;                       /* the bucket of sample i */
	long repeats;
	int batch;                      /* its own batch size; 0: that of order_new().  It then shares no batch with others. */
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

/* Where update k (from 0) stands when each takes `accumulate` batches and an epoch's last group may be short, as kohya does. */
struct order_place { uint32_t epoch; size_t first; int batches; };
struct order_place order_place(const struct order *o, long k, int accumulate);
long order_updates_per_epoch(const struct order *o, int accumulate);

#endif
