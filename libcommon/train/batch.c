/* Assembling batches: noise and targets, text or its encoded outputs, masks. */
#include <stdlib.h>
#include <string.h>
#include "../base/philox.h"
#include "batch.h"
#include "captions.h"

/* Do batches have masks?  A plan without latents goes by the settings. */
static bool masks(const struct batch_source *from)
{
	return from->data->set.masked || (from->data->stand_in && from->s->masked_loss);
}

/* Allocates ids and weights of tokens for each text encoder. */
static void reserve_text(const struct batch_source *from, struct batch *b)
{
	const size_t n = (size_t)b->n * from->net->step.chunks * b->length;

	for (int k = 0; k < from->net->text.count; k++) {
		b->ids[k] = xrealloc(b->ids[k], n * sizeof(int32_t));
		if (!from->s->captions.weighted)
			continue;
		b->weights[k] = xrealloc(b->weights[k], n * sizeof(float));
		for (size_t i = 0; i < n; i++)
			b->weights[k][i] = 1;
	}
}

/* What no text encoder makes: all that the UNet reads, or what is not of the text. */
static void reserve_given(const struct batch_source *from, struct batch *b, const struct latent_sample *s)
{
	const struct model_config *c = model_files_config(from->net->files);
	const struct conditioning all = family_conditioning(c, s->text.of[CONDITION_CONTEXT].length);

	for (int i = 0; i < CONDITIONS; i++) {
		const bool made = from->net->text.count && condition_is_text(i);
		b->given.of[i].length = made ? 0 : all.of[i].length;
		b->given.of[i].width = made ? 0 : all.of[i].width;
	}
	conditioning_reserve(&b->given, b->n);
}

static void reserve(const struct batch_source *from, struct batch *b, const struct latent_sample *s, int n)
{
	size_t latent = (size_t)n * s->c * s->h * s->w;

	b->n = n;
	b->h = s->h;
	b->w = s->w;
	b->c = s->c;
	b->noisy = xrealloc(b->noisy, latent * sizeof(float));
	b->target = xrealloc(b->target, latent * sizeof(float));
	if (model_files_config(from->net->files)->family->inpaints)
		b->beside = xrealloc(b->beside, (size_t)n * (1 + s->c) * s->h * s->w * sizeof(float));
	b->timestep = xrealloc(b->timestep, n * sizeof(float));
	b->weight = xrealloc(b->weight, n * sizeof(float));
	b->loss_kind = from->objective->loss;
	b->loss_c = xrealloc(b->loss_c, n * sizeof(float));
	for (int i = 0; i < n; i++)
		b->loss_c[i] = from->objective->huber_c;
	if (masks(from))
		b->mask = xrealloc(b->mask, (size_t)n * s->h * s->w * sizeof(float));
	b->length = model_files_config(from->net->files)->text[0].length;
	reserve_text(from, b);
	reserve_given(from, b, s);
}

/* words: of this visit, freed here; NULL: the text is encoded. */
static void put_text(const struct batch_source *from, struct batch *b, int i, char *words,
		     const struct latent_sample *s)
{
	if (words) {
		captions_ids(from->data, words, b, i);
		free(words);
	} else {
		conditioning_copy(&b->given, i, &s->text, 0);
	}
}

static void put_mask(struct batch *b, int i, const float *mask)
{
	const size_t n = (size_t)b->h * b->w;
	float *to = b->mask ? b->mask + i * n : NULL;

	for (size_t k = 0; to && k < n; k++)
		to[k] = mask ? mask[k] : 1;
}

/* What an inpainting model reads beside the noisy latent: one of the sample's holes, and the latent of the picture with
 * it.  visit (its purpose is of no use) NULL: the first, and the mean; s NULL: nothing. */
static void put_hole(const struct batch_source *from, struct batch *b, int i, const struct latent_sample *s,
		     const struct random *visit)
{
	const size_t cells = (size_t)b->h * b->w;
	struct random choice = visit ? *visit : (struct random){ 0 }, draw = choice;
	const float scale = model_files_config(from->net->files)->vae.scaling_factor;
	float *to = b->beside ? b->beside + i * cells * (1 + b->c) : NULL, *eps;
	size_t k;

	if (!to)
		return;
	memset(to, 0, cells * (1 + b->c) * sizeof(*to));
	if (!s || !s->hole)
		return;
	choice.purpose = RANDOM_HOLE_CHOICE;
	draw.purpose = RANDOM_HOLE_LATENT;
	k = visit ? random_below(&choice, 0, s->holes) : 0;
	eps = xcalloc(cells * b->c, sizeof(*eps));
	if (visit)
		random_normal(&draw, eps, cells * b->c);
	for (size_t j = 0; j < cells; j++) {
		*to++ = s->hole[k * cells + j];
		for (int c = 0; c < b->c; c++) {
			const size_t at = (k * cells + j) * b->c + c;
			*to++ = (s->hole_mean[at] + s->hole_std[at] * eps[j * b->c + c]) * scale;
		}
	}
	free(eps);
}

static void put_sample(const struct batch_source *from, const struct course *c, const struct batch_place *at,
		       uint32_t sample, struct batch *b, int i)
{
	const uint32_t item = at->micro * from->s->batch_size + i;
	const struct caption_visit visit = data_visit(from->data, c->seed, at->step, c->total, item);
	const struct latent_sample s = data_drawn(from->data, sample, &visit);
	size_t each = (size_t)b->c * b->h * b->w;
	struct objective_sample o = { s.mean, s.std, b->h, b->w, b->c, .noisy = b->noisy + i * each,
				      .target = b->target + i * each };

	objective_sample(from->objective, at->step, item, &o);
	b->timestep[i] = o.timestep;
	b->weight[i] = o.weight * s.weight;
	b->loss_c[i] = o.loss_c;
	conditioning_sizes(&b->given, i, s.original, s.crop, s.bucket);
	put_hole(from, b, i, &s, &(struct random){ .seed = c->seed, .step = at->step, .item = item });
	put_mask(b, i, s.mask);
	put_text(from, b, i, from->net->text.count ? captions_words(from->data, sample, &visit) : NULL, &s);
}

void batch_make(const struct batch_source *from, const struct course *c, const struct batch_place *at,
		const struct order_batch *o, struct batch *b)
{
	int i;

	if (!o->n)
		die(EXIT_USAGE, "--replay-step: the latents are not those of one step; "
				"name its NAME-nonfinite-stepNNNNNNNN.tar");
	reserve(from, b, &from->data->set.sample[o->sample[0]], o->n);
	for (i = 0; i < o->n; i++)
		put_sample(from, c, at, o->sample[i], b, i);
}

void batch_make_still(const struct batch_source *from, uint32_t sample, struct batch *b)
{
	const struct latent_sample *s = &from->data->set.sample[sample];

	reserve(from, b, s, 1);
	conditioning_sizes(&b->given, 0, s->original, s->crop, s->bucket);
	put_hole(from, b, 0, s, NULL);
	put_mask(b, 0, s->mask);
	put_text(from, b, 0, from->net->text.count ? captions_plain(from->data, sample) : NULL, s);
}

void batch_make_blank(const struct batch_source *from, const struct batch_shape *shape, struct batch *b)
{
	const struct latent_sample *s = &from->data->set.sample[shape->sample];
	const int none[2] = { 0 };
	const size_t n = shape->n;
	size_t ids;

	reserve(from, b, s, shape->n);
	ids = n * from->net->step.chunks * b->length;
	memset(b->timestep, 0, n * sizeof(*b->timestep));
	for (int i = 0; i < b->n; i++) {
		conditioning_sizes(&b->given, i, none, none, none);
		put_hole(from, b, i, NULL, NULL);
		put_mask(b, i, NULL);
	}
	for (int k = 0; k < from->net->text.count; k++)
		memset(b->ids[k], 0, ids * sizeof(*b->ids[k]));
}

void batch_free(struct batch *b)
{
	free(b->noisy);
	free(b->target);
	free(b->beside);
	free(b->timestep);
	free(b->weight);
	free(b->loss_c);
	free(b->mask);
	conditioning_free(&b->given);
	for (int k = 0; k < TEXT_ENCODERS; k++) {
		free(b->ids[k]);
		free(b->weights[k]);
	}
}

static struct tape *prepared(struct tape *t, const struct run_networks *net)
{
	tape_checkpoint_first(t, net->way.checkpoints);
	tape_cheap_again(t, net->way.cheap_again);
	tape_inner(t, net->inner);
	return t;
}

void batch_measure(const struct batch_source *from, struct batch_shape *shapes, size_t count)
{
	struct batch b = { 0 };
	size_t i;

	for (i = 0; i < count; i++) {
		struct tape *dry = prepared(tape_new_dry(), from->net);
		batch_make_blank(from, &shapes[i], &b);
		step_run(dry, &from->net->step, &b, 1);
		shapes[i].bytes = tape_peak(dry);
		shapes[i].blocks = tape_blocks(dry);
		tape_free(dry);
	}
	batch_free(&b);
}

void batch_count(const struct batch_source *from, const struct batch_shape *shape, uint32_t leaves, struct course *c)
{
	struct batch b = { 0 };
	float *loss = xmalloc(from->s->batch_size * sizeof(*loss));
	struct tape *t = prepared(tape_new_counting(from->net->device), from->net);

	batch_make_blank(from, shape, &b);
	leaf_sums_begin(&c->sums);
	for (uint32_t leaf = 0; leaf < leaves; leaf++) {
		adapter_training(from->net->adapter, 0, leaf, b.timestep, b.n);
		tensor_download(t, step_run(t, &from->net->step, &b, 1), loss);
		adapter_training_ends(from->net->adapter);
		leaf_sums_add(&c->sums, t, leaf, leaves);
	}
	optimizer_grad_norm(&c->optimizer);
	optimizer_step(&c->optimizer, 1, 1);
	if (from->s->scale_weight_norms)
		adapter_limit_norms(from->net->adapter, from->s->scale_weight_norms);
	ema_update(&c->ema, 1);
	tape_free(t);
	batch_free(&b);
	free(loss);
}
