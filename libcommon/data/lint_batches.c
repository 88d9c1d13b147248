/* Lint: the steps of an epoch, and batches that are not full. */
#include <stdlib.h>
#include "lint_batches.h"

struct group { int size[2]; long batch; size_t pictures; long long samples; };

struct batches {
	long batch_size;
	struct group *group; size_t count, capacity;
};

struct batches *batches_new(long batch_size)
{
	struct batches *b = xcalloc(1, sizeof(*b));

	b->batch_size = batch_size;
	return b;
}

void batches_free(struct batches *b)
{
	if (b)
		free(b->group);
	free(b);
}

static struct group *group_of(struct batches *b, const int bucket[2], long batch)
{
	for (size_t i = 0; i < b->count; i++)
		if (b->group[i].size[0] == bucket[0] && b->group[i].size[1] == bucket[1] && b->group[i].batch == batch)
			return &b->group[i];
	GROW(b->group, b->count, b->capacity);
	b->group[b->count] = (struct group){ { bucket[0], bucket[1] }, batch, 0, 0 };
	return &b->group[b->count++];
}

void batches_add(struct batches *b, const int bucket[2], long repeats, long batch_size)
{
	struct group *g = group_of(b, bucket, batch_size);

	g->pictures++;
	g->samples += repeats;
}

static int by_size(const void *a, const void *b)
{
	const struct group *x = a, *y = b;

	if (x->size[0] != y->size[0])
		return x->size[0] - y->size[0];
	return x->size[1] != y->size[1] ? x->size[1] - y->size[1] : (x->batch > y->batch) - (x->batch < y->batch);
}

static int report_remainder(const struct group *g, long batch, struct findings *f)
{
	long long left = g->samples % batch;

	if (left == 0)
		return 0;
	return finding_say(f, FINDING_REMAINDER, NULL,
			   "bucket %dx%d: %lld samples of %zu pictures, so the last of %lld batches has %lld of %ld",
			   g->size[0], g->size[1], g->samples, g->pictures, g->samples / batch + 1, left, batch);
}

int batches_report(struct batches *b, struct findings *f)
{
	long long samples = 0, steps = 0;
	size_t pictures = 0;

	if (!b->count)
		return 0;
	qsort(b->group, b->count, sizeof(*b->group), by_size);
	for (size_t i = 0; i < b->count; i++) {
		const struct group *g = &b->group[i];
		long batch = g->batch ? g->batch : b->batch_size;
		if (report_remainder(g, batch, f) < 0)
			return -1;
		pictures += g->pictures;
		samples += g->samples;
		steps += (g->samples + batch - 1) / batch;
	}
	return finding_say(f, FINDING_STEPS, NULL, "%zu pictures, %lld samples, %zu buckets, batch size %ld: "
						   "%lld steps an epoch",
			   pictures, samples, b->count, b->batch_size, steps);
}
