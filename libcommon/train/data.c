#include <string.h>
#include <unistd.h>
#include "internal.h"

/* ---- against the model ---- */

static int check_sample(const struct run *r, const struct latent_sample *s, struct error *e)
{
	const struct model_config *c = model_files_config(r->net.files);
	int f = c->vae.factor;

	if (s->c != c->vae.latent_channels || s->w * f != s->bucket[0] || s->h * f != s->bucket[1])
		return fail(e, EXIT_INPUT, "sample %s: a latent of %dx%dx%d for %dx%d pixels is not this model's; encode with the same model",
			    s->key, s->w, s->h, s->c, s->bucket[0], s->bucket[1]);
	if (model_size_check(c, s->bucket[0], s->bucket[1], e) < 0)
		return fail_at(e, s->key);
	if (s->variants && (s->context_width != c->unet.context || s->pooled_width != c->unet.pooled))
		return fail(e, EXIT_INPUT, "sample %s: text outputs are %d and %d wide, the UNet wants %d and %d; encode with the same model",
			    s->key, s->context_width, s->pooled_width, c->unet.context, c->unet.pooled);
	return 0;
}

/* ---- in which order ---- */

/* batch_size of a dataset config comes before train_batch_size, as with kohya, but not before the command line. */
static int own_batch(const struct run *r, const struct latent_sample *s)
{
	return !r->data.common_batch && !option_is_typed("train-batch-size") ? s->batch_size : 0;
}

/* The run's batch size is that of its largest batch: it numbers a step's samples. */
static void widen_batch(struct run *r, const struct order_item *items)
{
	long common = r->s->batch_size, widest = 0;
	size_t i;

	for (i = 0; i < r->data.set.count; i++) {
		long own = items[i].batch ? items[i].batch : common;
		widest = own > widest ? own : widest;
	}
	if (widest != common)
		note("the dataset config says batch_size = %ld; train_batch_size = %ld is not used", widest, common);
	r->s->batch_size = widest;
}

void run_make_order(struct run *r)
{
	struct order_item *items = xmalloc(r->data.set.count * sizeof(*items));
	size_t i;

	for (i = 0; i < r->data.set.count; i++) {
		const struct latent_sample *s = &r->data.set.sample[i];
		items[i] = (struct order_item){ s->w, s->h, s->repeats, own_batch(r, s) };
	}
	r->data.order = order_new(items, r->data.set.count, r->s->batch_size, r->course.seed);
	widen_batch(r, items);
	free(items);
}

/* What is held out, whether the rest fits the model, and in which order it comes. */
static int settle_data(struct run *r, struct error *e)
{
	size_t i;

	if (run_hold_out(r, e) < 0)
		return -1;
	if (r->data.set.sample[0].w > 0)
		model_files_latents(r->net.files, r->data.set.sample[0].bucket[0] / r->data.set.sample[0].w);
	for (i = 0; i < r->data.set.count; i++)
		if (check_sample(r, &r->data.set.sample[i], e) < 0)
			return -1;
	if (r->s->masked_loss && !r->data.set.masked && !r->data.stand_in)
		warning("masked_loss: no picture has a mask, so every part counts; give lora-prep alpha_mask or conditioning_data_dir");
	run_make_order(r);
	return 0;
}

static int read_data(struct run *r, const char *const *latents, size_t count, struct error *e)
{
	static const char *const stdin_only[] = { "-" };

	if (!count && isatty(STDIN_FILENO))
		return fail(e, EXIT_USAGE, "no latents; name a tar or pipe one in (lora-prep DIR | lora-encode -m MODEL | lora-train ...)");
	if ((r->data.headers_only ? latent_set_skim : latent_set_read)(count ? latents : stdin_only, count ? count : 1, &r->data.set, e) < 0)
		return -1;
	return settle_data(r, e);
}

static int set_length(struct run *r, struct error *e)
{
	struct train_settings *s = r->s;
	long per_epoch = order_updates_per_epoch(r->data.order, s->accumulate);

	r->course.total = s->max_epochs ? s->max_epochs * per_epoch : s->max_steps;
	if (s->save_epoch_ratio) {
		long each = (r->course.total + per_epoch - 1) / per_epoch / s->save_epoch_ratio;
		s->save_every_epochs = each ? each : 1;
	}
	return run_set_schedule(r, e);
}

int run_prepare_data(struct run *r, const char *const *latents, size_t count, struct error *e)
{
	const bool looks = r->s->plan || r->s->check || r->s->print_lr;

	if (count && r->s->pictures)
		return fail(e, EXIT_USAGE, "--pictures in place of latents, or latents; leave one out");
	if (r->s->pictures && looks) {
		if (run_imagine_pictures(r, e) < 0)
			return -1;
		return settle_data(r, e) < 0 ? -1 : set_length(r, e);
	}
	if (count || !(r->s->plan || r->s->check))
		return read_data(r, latents, count, e) < 0 ? -1 : set_length(r, e);
	if (run_imagine_data(r, e) < 0)
		return -1;
	run_make_order(r);
	r->course.total = r->s->max_epochs ? 0 : r->s->max_steps;
	return run_set_schedule(r, e);
}
