/* The data of a run: checks of the latents against the model, and the order of samples. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "../data/shard.h"
#include "../model/text_encoders.h"
#include "captions.h"
#include "data.h"

/* ---- checks against the model ---- */

/* Refuses text outputs of another state of the text encoders than this run's. */
static int check_skip(const struct latent_sample *s, int skip, struct error *e)
{
	char was[12] = "none", is[12] = "none";

	if (s->clip_skip == skip)
		return 0;
	if (s->clip_skip)
		snprintf(was, sizeof(was), "%d", s->clip_skip);
	if (skip)
		snprintf(is, sizeof(is), "%d", skip);
	return fail(e, EXIT_USAGE, "sample %s: its text was encoded with clip_skip %s, and this run has %s; "
				   "give it to lora-encode too (one --config for both)", s->key, was, is);
}

static int check_sample(const struct model_config *c, const struct train_settings *settings,
			const struct latent_sample *s, struct error *e)
{
	const int f = c->vae.factor, context = s->text.of[CONDITION_CONTEXT].width,
		  pooled = s->text.of[CONDITION_POOLED].width;

	if (s->c != c->vae.latent_channels || s->w * f != s->bucket[0] || s->h * f != s->bucket[1])
		return fail(e, EXIT_INPUT, "sample %s: a latent of %dx%dx%d for %dx%d pixels is not this model's; "
					   "encode with the same model",
			    s->key, s->w, s->h, s->c, s->bucket[0], s->bucket[1]);
	if (model_size_check(c, s->bucket[0], s->bucket[1], e) < 0)
		return fail_at(e, s->key);
	if (c->family->inpaints && s->mean && !s->hole)
		return fail(e, EXIT_INPUT, "sample %s: no holes were encoded, and the model is for inpainting; "
					   "encode with this model", s->key);
	if (s->variants && s->family && s->family->encoded_as != c->family->encoded_as)
		return fail(e, EXIT_INPUT, "sample %s: its text was encoded for %s, the model is %s; "
					   "encode with the same model", s->key,
			    s->family->title, c->family->title);
	if (s->variants && (context != c->unet.context || pooled != c->unet.pooled))
		return fail(e, EXIT_INPUT, "sample %s: text outputs are %d and %d wide, the UNet wants %d and %d; "
					   "encode with the same model",
			    s->key, context, pooled, c->unet.context, c->unet.pooled);
	return s->variants && !trains_text(settings) ? check_skip(s, text_skip_trained(c, settings->clip_skip), e) : 0;
}

/* ---- the order ---- */

/* batch_size of a dataset config overrides train_batch_size, as with kohya, but not the command line. */
static int own_batch(const struct latent_sample *s, bool common_batch)
{
	return !common_batch && !option_is_typed("train-batch-size") ? s->batch_size : 0;
}

static void widen_batch(struct train_settings *s, const struct order_item *items, size_t count)
{
	long common = s->batch_size, widest = 0;
	size_t i;

	for (i = 0; i < count; i++) {
		long own = items[i].batch ? items[i].batch : common;
		widest = own > widest ? own : widest;
	}
	if (widest != common)
		note("the dataset config says batch_size = %ld; train_batch_size = %ld is not used", widest, common);
	s->batch_size = widest;
}

struct order *data_order(const struct run_data *d, struct train_settings *s, bool common_batch, uint64_t seed)
{
	struct order_item *items = xmalloc(d->set.count * sizeof(*items));
	struct order *order;
	size_t i;

	for (i = 0; i < d->set.count; i++) {
		const struct latent_sample *x = &d->set.sample[i];
		items[i] = (struct order_item){ x->w, x->h, x->repeats, own_batch(x, common_batch) };
	}
	order = order_new(items, d->set.count, s->batch_size, seed);
	widen_batch(s, items, d->set.count);
	free(items);
	return order;
}

/* Holds out samples, checks the rest against the model, and makes the order. */
static int settle(struct run_data *d, struct model_files *files, uint64_t seed, struct error *e)
{
	size_t i;

	if (data_hold_out(d, seed, e) < 0)
		return -1;
	if (d->set.sample[0].w > 0)
		model_files_latents(files, d->set.sample[0].bucket[0] / d->set.sample[0].w);
	for (i = 0; i < d->set.count; i++)
		if (check_sample(model_files_config(files), d->s, &d->set.sample[i], e) < 0)
			return -1;
	if (d->s->masked_loss && !d->set.masked && !d->stand_in)
		warning("masked_loss: no picture has a mask, so every part counts; "
			"give lora-prep alpha_mask or conditioning_data_dir");
	d->order = data_order(d, d->s, false, seed);
	return 0;
}

int data_look(const char *const *latents, size_t count, struct error *e)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (!shard_is_list(latents[i]) && access(latents[i], F_OK) == 0 &&
		    tar_look(latents[i], "latent", e) < 0)
			return -1;
	return 0;
}

static int read_latents(struct run_data *d, const char *const *latents, size_t count, struct error *e)
{
	static const char *const stdin_only[] = { "-" };

	if (!count && isatty(STDIN_FILENO))
		return fail(e, EXIT_USAGE, "no latents; name a tar or pipe one in "
					   "(lora-prep DIR | lora-encode -m MODEL | lora-train ...)");
	return (d->headers_only ? latent_set_skim : latent_set_read)(count ? latents : stdin_only, count ? count : 1,
								     &d->set, e);
}

/* kohya's prior_loss_weight is a setting of training; lora-prep's is what the latents say. */
static void weigh_regularization(struct run_data *d)
{
	const double weight = d->s->prior_loss_weight;
	size_t others = 0;
	double was = 0;

	for (size_t i = 0; i < d->set.count; i++)
		if (d->set.sample[i].regularization && d->set.sample[i].weight != weight && !others++)
			was = d->set.sample[i].weight;
	if (!others)
		return;
	note("prior_loss_weight = %g: so much a regularisation picture counts; %g, say the latents", weight, was);
	latent_set_weigh(&d->set, weight);
}

int data_open(struct run_data *d, struct model_files *files, uint64_t seed, const char *const *latents, size_t count,
	      struct error *e)
{
	const bool plans = d->s->plan || d->s->check;
	int result;

	if (count && d->s->pictures)
		return fail(e, EXIT_USAGE, "--pictures in place of latents, or latents; leave one out");
	if (d->s->pictures && (plans || d->s->print_lr)) {
		result = data_from_report(d, model_files_config(files), e);
	} else if (count || !plans) {
		result = read_latents(d, latents, count, e);
	} else {
		result = data_from_buckets(d, model_files_config(files), e);
		if (!result)
			d->order = data_order(d, d->s, false, seed);
		return result;
	}
	if (!result && option_is_set("prior-loss-weight"))
		weigh_regularization(d);
	return result < 0 ? -1 : settle(d, files, seed, e);
}

long data_updates_per_epoch(const struct run_data *d)
{
	return order_updates_per_epoch(d->order, leaves_a_step(d->s));
}

void data_free(struct run_data *d)
{
	d->set.count += d->held_out;
	captions_free(d->captions);
	order_free(d->order);
	latent_set_free(&d->set);
	free(d->replayed);
}
