/* Batches: what a step reads. */
#include <stdlib.h>
#include <string.h>
#include "batch.h"
#include "captions.h"

/* A plan without latents goes by what is asked for. */
static bool masks(const struct batch_source *from)
{
	return from->data->set.masked || (from->data->stand_in && from->data->s->masked_loss);
}

static void reserve_weights(const struct batch_source *from, struct batch *b)
{
	const size_t n = (size_t)b->n * from->net->step.chunks * b->length;

	if (!from->data->s->captions.weighted)
		return;
	b->weights1 = xrealloc(b->weights1, n * sizeof(float));
	b->weights2 = xrealloc(b->weights2, n * sizeof(float));
	for (size_t i = 0; i < n; i++)
		b->weights1[i] = b->weights2[i] = 1;
}

static void reserve(const struct batch_source *from, struct batch *b, const struct latent_sample *s, int n)
{
	size_t latent = (size_t)n * s->c * s->h * s->w;
	const struct model_config *c = model_files_config(from->net->files);

	b->n = n;
	b->h = s->h;
	b->w = s->w;
	b->c = s->c;
	b->noisy = xrealloc(b->noisy, latent * sizeof(float));
	b->target = xrealloc(b->target, latent * sizeof(float));
	b->timestep = xrealloc(b->timestep, n * sizeof(float));
	b->weight = xrealloc(b->weight, n * sizeof(float));
	b->loss_kind = from->course->objective.loss;
	b->loss_c = xrealloc(b->loss_c, n * sizeof(float));
	for (int i = 0; i < n; i++)
		b->loss_c[i] = from->course->objective.huber_c;
	if (masks(from))
		b->mask = xrealloc(b->mask, (size_t)n * s->h * s->w * sizeof(float));
	b->time_ids = xrealloc(b->time_ids, 6 * n * sizeof(float));
	if (from->net->te1) {
		b->length = c->te1.length;
		b->ids1 = xrealloc(b->ids1, (size_t)n * from->net->step.chunks * b->length * sizeof(int32_t));
		b->ids2 = xrealloc(b->ids2, (size_t)n * from->net->step.chunks * b->length * sizeof(int32_t));
		reserve_weights(from, b);
	} else {
		b->length = s->length;
		b->context = xrealloc(b->context, (size_t)n * s->length * s->context_width * sizeof(float));
		b->pooled = xrealloc(b->pooled, (size_t)n * s->pooled_width * sizeof(float));
	}
}

/* words: of this visit, given up; NULL: they are encoded. */
static void put_text(const struct batch_source *from, struct batch *b, int i, char *words, const struct latent_sample *s)
{
	if (words) {
		run_caption_ids(from->data, words, b, i);
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

static void put_sample(const struct batch_source *from, struct batch *b, int i, uint32_t sample, uint32_t item)
{
	const struct course *c = from->course;
	const struct caption_visit visit = data_visit(from->data, c->seed, c->done, c->total, item);
	const struct latent_sample s = data_drawn(from->data, sample, &visit);
	size_t each = (size_t)b->c * b->h * b->w;
	struct objective_sample o = { s.mean, s.std, b->h, b->w, b->c, .noisy = b->noisy + i * each, .target = b->target + i * each };

	objective_sample(&c->objective, c->done, item, &o);
	b->timestep[i] = o.timestep;
	b->weight[i] = o.weight * s.weight;
	b->loss_c[i] = o.loss_c;
	put_sizes(b, i, &s);
	put_mask(b, i, s.mask);
	put_text(from, b, i, from->net->te1 ? run_caption_words(from->data, sample, &visit) : NULL, &s);
}

void batch_make(const struct batch_source *from, const struct order_place *place, int micro, struct batch *b)
{
	struct order_batch o = data_batch(from->data, place, micro);
	int i;

	if (!o.n)
		die(EXIT_USAGE, "--replay-step: the latents are not those of one step; name its NAME-nonfinite-stepNNNNNNNN.tar");
	reserve(from, b, &from->data->set.sample[o.sample[0]], o.n);
	for (i = 0; i < o.n; i++)
		put_sample(from, b, i, o.sample[i], micro * from->data->s->batch_size + i);
}

void batch_make_still(const struct batch_source *from, uint32_t sample, struct batch *b)
{
	const struct latent_sample *s = &from->data->set.sample[sample];

	reserve(from, b, s, 1);
	put_sizes(b, 0, s);
	put_mask(b, 0, s->mask);
	put_text(from, b, 0, from->net->te1 ? run_caption_plain(from->data, sample) : NULL, s);
}

void batch_make_blank(const struct batch_source *from, const struct batch_shape *shape, struct batch *b)
{
	const struct latent_sample *s = &from->data->set.sample[shape->sample];
	const size_t n = shape->n, ids = from->net->te1 ? n * from->net->step.chunks * model_files_config(from->net->files)->te1.length : 0;

	reserve(from, b, s, shape->n);
	memset(b->timestep, 0, n * sizeof(*b->timestep));
	memset(b->time_ids, 0, 6 * n * sizeof(*b->time_ids));
	for (int i = 0; i < b->n; i++)
		put_mask(b, i, NULL);
	if (ids) {
		memset(b->ids1, 0, ids * sizeof(*b->ids1));
		memset(b->ids2, 0, ids * sizeof(*b->ids2));
	}
}

void batch_free(struct batch *b)
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

void batch_measure(const struct batch_source *from, struct batch_shape *shapes, size_t count)
{
	struct batch b = { 0 };
	float *loss = xmalloc(from->data->s->batch_size * sizeof(*loss));
	size_t i;

	for (i = 0; i < count; i++) {
		struct tape *dry = tape_new_dry();
		tape_checkpoint_first(dry, from->net->way.checkpoints);
		batch_make_blank(from, &shapes[i], &b);
		step_run(dry, &from->net->step, &b, 1, loss);
		shapes[i].bytes = tape_peak(dry);
		shapes[i].blocks = tape_blocks(dry);
		tape_free(dry);
	}
	batch_free(&b);
	free(loss);
}
