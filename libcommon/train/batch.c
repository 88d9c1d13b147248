#include <stdlib.h>
#include <string.h>
#include "../base/philox.h"
#include "captions.h"
#include "internal.h"

/* A plan without latents goes by what is asked for. */
static bool masks(const struct run *r)
{
	return r->data.set.masked || (r->data.stand_in && r->s->masked_loss);
}

static void reserve_weights(const struct run *r, struct batch *b)
{
	const size_t n = (size_t)b->n * r->net.step.chunks * b->length;

	if (!r->s->captions.weighted)
		return;
	b->weights1 = xrealloc(b->weights1, n * sizeof(float));
	b->weights2 = xrealloc(b->weights2, n * sizeof(float));
	for (size_t i = 0; i < n; i++)
		b->weights1[i] = b->weights2[i] = 1;
}

static void reserve(struct run *r, struct batch *b, const struct latent_sample *s, int n)
{
	size_t latent = (size_t)n * s->c * s->h * s->w;
	const struct model_config *c = model_files_config(r->net.files);

	b->n = n;
	b->h = s->h;
	b->w = s->w;
	b->c = s->c;
	b->noisy = xrealloc(b->noisy, latent * sizeof(float));
	b->target = xrealloc(b->target, latent * sizeof(float));
	b->timestep = xrealloc(b->timestep, n * sizeof(float));
	b->weight = xrealloc(b->weight, n * sizeof(float));
	b->loss_kind = r->course.objective.loss;
	b->loss_c = xrealloc(b->loss_c, n * sizeof(float));
	for (int i = 0; i < n; i++)
		b->loss_c[i] = r->course.objective.huber_c;
	if (masks(r))
		b->mask = xrealloc(b->mask, (size_t)n * s->h * s->w * sizeof(float));
	b->time_ids = xrealloc(b->time_ids, 6 * n * sizeof(float));
	if (r->net.te1) {
		b->length = c->te1.length;
		b->ids1 = xrealloc(b->ids1, (size_t)n * r->net.step.chunks * b->length * sizeof(int32_t));
		b->ids2 = xrealloc(b->ids2, (size_t)n * r->net.step.chunks * b->length * sizeof(int32_t));
		reserve_weights(r, b);
	} else {
		b->length = s->length;
		b->context = xrealloc(b->context, (size_t)n * s->length * s->context_width * sizeof(float));
		b->pooled = xrealloc(b->pooled, (size_t)n * s->pooled_width * sizeof(float));
	}
}

/* item counts the samples of a step over all its batches, so that accumulation draws the same numbers as one large batch */
struct latent_sample run_drawn(const struct run *r, uint32_t sample, uint32_t item)
{
	struct latent_sample s = r->data.set.sample[sample];
	struct random flip = { r->course.seed, RANDOM_FLIP, r->course.done, item };

	if (s.flip_mean && random_below(&flip, 0, 2)) {
		s.mean = s.flip_mean;
		s.std = s.flip_std;
		s.mask = s.flip_mask;
		memcpy(s.crop, s.crop_flip, sizeof(s.crop));
	}
	s.flip_mean = s.flip_std = s.flip_mask = NULL;
	*s.latent_id = 0;               /* what is left of it is not what these stood for */
	s.text_id = NULL;
	if (!r->net.te1) {
		uint32_t v = run_caption_variant(r, sample, item);
		s.context += (size_t)v * s.length * s.context_width;
		s.pooled += (size_t)v * s.pooled_width;
		s.caption += v < (uint32_t)s.captions ? v : 0;
		s.variants = 1;
		s.caption_options = NULL;
	} else {
		s.caption = s.written ? &r->data.set.sample[sample].written : s.caption;
		s.variants = 0;
	}
	s.captions = 1;
	s.written = NULL;
	s.empty = -1;
	return s;
}

/* words: of this visit, given up; NULL: they are encoded. */
static void put_text(struct run *r, struct batch *b, int i, char *words, const struct latent_sample *s)
{
	if (words) {
		run_caption_ids(r, words, b, i);
		free(words);
	} else {
		size_t context = (size_t)s->length * s->context_width;
		memcpy(b->context + i * context, s->context, context * sizeof(float));
		memcpy(b->pooled + (size_t)i * s->pooled_width, s->pooled, s->pooled_width * sizeof(float));
	}
}

static void put_mask(struct batch *b, int i, const float *mask)
{
	const size_t n = (size_t)b->h * b->w;
	float *to = b->mask ? b->mask + i * n : NULL;

	for (size_t k = 0; to && k < n; k++)
		to[k] = mask ? mask[k] : 1;
}

static void put_sizes(struct batch *b, int i, const struct latent_sample *s)
{
	float *ids = b->time_ids + 6 * i;

	ids[0] = s->original[1];
	ids[1] = s->original[0];
	ids[2] = s->crop[1];
	ids[3] = s->crop[0];
	ids[4] = s->bucket[1];
	ids[5] = s->bucket[0];
}

static void put_sample(struct run *r, struct batch *b, int i, uint32_t sample, uint32_t item)
{
	const struct latent_sample s = run_drawn(r, sample, item);
	size_t each = (size_t)b->c * b->h * b->w;
	struct objective_sample o = { s.mean, s.std, b->h, b->w, b->c, .noisy = b->noisy + i * each, .target = b->target + i * each };

	objective_sample(&r->course.objective, r->course.done, item, &o);
	b->timestep[i] = o.timestep;
	b->weight[i] = o.weight * s.weight;
	b->loss_c[i] = o.loss_c;
	put_sizes(b, i, &s);
	put_mask(b, i, s.mask);
	put_text(r, b, i, r->net.te1 ? run_caption_words(r, sample, item) : NULL, &s);
}

/* ---- a step that is repeated: a sample's key is its number in the step, and so tells its batch ---- */

static int batch_of(const struct run *r, size_t sample)
{
	return strtoul(r->data.set.sample[sample].key, NULL, 10) / r->s->batch_size;
}

static struct order_batch replayed(struct run *r, int micro)
{
	size_t i, first = 0, n = 0;

	if (!r->data.replayed) {
		r->data.replayed = xmalloc(r->data.set.count * sizeof(*r->data.replayed));
		for (i = 0; i < r->data.set.count; i++)
			r->data.replayed[i] = i;
	}
	while (first < r->data.set.count && batch_of(r, first) != micro)
		first++;
	while (first + n < r->data.set.count && batch_of(r, first + n) == micro)
		n++;
	return (struct order_batch){ r->data.replayed + first, n };
}

struct order_place run_place(struct run *r)
{
	if (r->data.replaying)
		return (struct order_place){ 0, 0, batch_of(r, r->data.set.count - 1) + 1 };
	return order_place(r->data.order, r->course.done, r->s->accumulate);
}

struct order_batch run_samples_of(struct run *r, const struct order_place *place, int micro)
{
	if (r->data.replaying)
		return replayed(r, micro);
	return order_batch(r->data.order, place->epoch, place->first + micro);
}

void run_batch(struct run *r, const struct order_place *place, int micro, struct batch *b)
{
	struct order_batch o = run_samples_of(r, place, micro);
	int i;

	if (!o.n)
		die(EXIT_USAGE, "--replay-step: the latents are not those of one step; name its NAME-nonfinite-stepNNNNNNNN.tar");
	reserve(r, b, &r->data.set.sample[o.sample[0]], o.n);
	for (i = 0; i < o.n; i++)
		put_sample(r, b, i, o.sample[i], micro * r->s->batch_size + i);
}

void run_batch_still(struct run *r, uint32_t sample, struct batch *b)
{
	const struct latent_sample *s = &r->data.set.sample[sample];

	reserve(r, b, s, 1);
	put_sizes(b, 0, s);
	put_mask(b, 0, s->mask);
	put_text(r, b, 0, r->net.te1 ? run_caption_plain(r, sample) : NULL, s);
}

void run_batch_blank(struct run *r, const struct batch_shape *shape, struct batch *b)
{
	const struct latent_sample *s = &r->data.set.sample[shape->sample];
	const size_t n = shape->n, ids = r->net.te1 ? n * r->net.step.chunks * model_files_config(r->net.files)->te1.length : 0;

	reserve(r, b, s, shape->n);
	memset(b->timestep, 0, n * sizeof(*b->timestep));
	memset(b->time_ids, 0, 6 * n * sizeof(*b->time_ids));
	for (int i = 0; i < b->n; i++)
		put_mask(b, i, NULL);
	if (ids) {
		memset(b->ids1, 0, ids * sizeof(*b->ids1));
		memset(b->ids2, 0, ids * sizeof(*b->ids2));
	}
}

void run_batch_free(struct batch *b)
{
	free(b->noisy);
	free(b->target);
	free(b->timestep);
	free(b->weight);
	free(b->loss_c);
	free(b->mask);
	free(b->time_ids);
	free(b->ids1);
	free(b->ids2);
	free(b->weights1);
	free(b->weights2);
	free(b->context);
	free(b->pooled);
}
