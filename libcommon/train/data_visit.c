/* The samples of a step, each mirrored or not and with one of its captions; and the shapes of batches. */
#include <stdlib.h>
#include <string.h>
#include "../base/philox.h"
#include "captions.h"
#include "data.h"

struct latent_sample data_drawn(const struct run_data *d, uint32_t sample, const struct caption_visit *visit)
{
	struct latent_sample s = d->set.sample[sample];
	struct random flip = { visit->seed, RANDOM_FLIP, visit->step, visit->item };

	if (s.flip_mean && random_below(&flip, 0, 2)) {
		s.mean = s.flip_mean;
		s.std = s.flip_std;
		s.mask = s.flip_mask;
		s.hole = s.flip_hole;
		s.hole_mean = s.flip_hole_mean;
		s.hole_std = s.flip_hole_std;
		memcpy(s.crop, s.crop_flip, sizeof(s.crop));
	}
	s.flip_mean = s.flip_std = s.flip_mask = NULL;
	s.flip_hole = s.flip_hole_mean = s.flip_hole_std = NULL;
	*s.latent_id = 0;               /* what is left of it is not what these stood for */
	s.text_id = NULL;
	if (!captions_live(d)) {
		uint32_t v = captions_draw(d, sample, visit);
		s.text = s.variant[v];
		s.variant = NULL;
		s.caption += v < (uint32_t)s.captions ? v : 0;
		s.variants = 1;
		s.caption_options = NULL;
	} else {
		s.caption = s.written ? &d->set.sample[sample].written : s.caption;
		s.variants = 0;
	}
	s.captions = 1;
	s.written = NULL;
	s.empty = -1;
	return s;
}

/* ---- --replay-step: a sample's key is its number in the step, which tells its batch ---- */

static int batch_of(const struct run_data *d, size_t sample)
{
	return strtoul(d->set.sample[sample].key, NULL, 10) / d->s->batch_size;
}

static struct order_batch replayed(struct run_data *d, int micro)
{
	size_t i, first = 0, n = 0;

	if (!d->replayed) {
		d->replayed = xmalloc(d->set.count * sizeof(*d->replayed));
		for (i = 0; i < d->set.count; i++)
			d->replayed[i] = i;
	}
	while (first < d->set.count && batch_of(d, first) != micro)
		first++;
	while (first + n < d->set.count && batch_of(d, first + n) == micro)
		n++;
	return (struct order_batch){ d->replayed + first, n };
}

int data_begin_replay(struct run_data *d, struct error *e)
{
	size_t i, most = (size_t)d->s->batch_size * leaves_a_step(d->s);

	for (i = 0; i < d->set.count; i++)
		if (strtoul(d->set.sample[i].key, NULL, 10) >= most)
			return fail(e, EXIT_USAGE, "--replay-step: %zu samples are more than a step has; "
						   "name a NAME-nonfinite-stepNNNNNNNN.tar, "
						   "and batch size and accumulation of its run", d->set.count);
	d->replaying = true;
	return 0;
}

struct order_place data_place(const struct run_data *d, long step)
{
	if (d->replaying)
		return (struct order_place){ 0, 0, batch_of(d, d->set.count - 1) + 1 };
	return order_place(d->order, step, leaves_a_step(d->s));
}

struct order_batch data_batch(struct run_data *d, const struct order_place *place, int micro)
{
	if (d->replaying)
		return replayed(d, micro);
	return order_batch(d->order, place->epoch, place->first + micro);
}

struct caption_visit data_visit(const struct run_data *d, uint64_t seed, long step, long total, uint32_t item)
{
	const struct order_place place = order_place(d->order, step, leaves_a_step(d->s));

	return (struct caption_visit){ seed, place.epoch, (uint32_t)step, item, total };
}

/* ---- all steps ---- */

static bool seen_before(const struct batch_shape *seen, size_t count, const struct batch_shape *s)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (seen[i].n == s->n && seen[i].h == s->h && seen[i].w == s->w)
			return true;
	return false;
}

size_t data_shapes(const struct run_data *d, struct order *order, struct batch_shape **shapes)
{
	struct batch_shape *seen = xcalloc(order_batches(order), sizeof(*seen));
	size_t i, count = 0;

	for (i = 0; i < order_batches(order); i++) {
		const struct order_batch o = order_batch(order, 0, i);
		const struct latent_sample *s = &d->set.sample[o.sample[0]];
		seen[count] = (struct batch_shape){ .n = o.n, .h = s->h, .w = s->w, .sample = o.sample[0] };
		count += !seen_before(seen, count, &seen[count]);
	}
	*shapes = seen;
	return count;
}

void data_common_bucket(const struct run_data *d, int size[2])
{
	long most = 0;
	size_t i, k;

	for (i = 0; i < d->set.count; i++) {
		const int *b = d->set.sample[i].bucket;
		long visits = 0;
		for (k = 0; k < d->set.count; k++)
			if (!memcmp(d->set.sample[k].bucket, b, 2 * sizeof(*b)))
				visits += d->set.sample[k].repeats;
		if (visits > most) {
			most = visits;
			memcpy(size, b, 2 * sizeof(*size));
		}
	}
}
