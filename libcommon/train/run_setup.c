#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "run_captions.h"
#include "run_plan.h"
#include "settings_objective.h"

/* ---- data against model ---- */

static int check_sample(const struct run *r, const struct latent_sample *s, struct error *e)
{
	const struct model_config *c = model_files_config(r->files);
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

/* batch_size of a dataset config comes before train_batch_size, as with kohya, but not before the command line. */
static int own_batch(const struct run *r, const struct latent_sample *s)
{
	return !r->common_batch && strcmp(option_origin("train-batch-size"), "command line") ? s->batch_size : 0;
}

/* The run's batch size is that of its largest batch: it numbers a step's samples. */
static void widen_batch(struct run *r, const struct order_item *items)
{
	long common = r->s->batch_size, widest = 0;
	size_t i;

	for (i = 0; i < r->data.count; i++) {
		long own = items[i].batch ? items[i].batch : common;
		widest = own > widest ? own : widest;
	}
	if (widest != common)
		note("the dataset config says batch_size = %ld; train_batch_size = %ld is not used", widest, common);
	r->s->batch_size = widest;
}

void run_make_order(struct run *r)
{
	struct order_item *items = xmalloc(r->data.count * sizeof(*items));
	size_t i;

	for (i = 0; i < r->data.count; i++) {
		const struct latent_sample *s = &r->data.sample[i];
		items[i] = (struct order_item){ s->w, s->h, s->repeats, own_batch(r, s) };
	}
	r->order = order_new(items, r->data.count, r->s->batch_size, r->seed);
	widen_batch(r, items);
	free(items);
}

static int read_data(struct run *r, const char *const *latents, size_t count, struct error *e)
{
	static const char *const stdin_only[] = { "-" };
	size_t i;

	if (!count && isatty(STDIN_FILENO))
		return fail(e, EXIT_USAGE, "no latents; name a tar or pipe one in (lora-prep DIR | lora-encode -m MODEL | lora-train ...)");
	if ((r->skims ? latent_set_skim : latent_set_read)(count ? latents : stdin_only, count ? count : 1, &r->data, e) < 0)
		return -1;
	if (run_hold_out(r, e) < 0)
		return -1;
	for (i = 0; i < r->data.count; i++)
		if (check_sample(r, &r->data.sample[i], e) < 0)
			return -1;
	run_make_order(r);
	return 0;
}

/* Captions, and whether the text encoders run. */
static int open_captions(struct run *r, struct error *e)
{
	const bool cached = r->data.sample[0].variants > 0, trained = run_trains_text(r->s);

	if (cached && trained)
		note("the text encoders are trained, so the text outputs in the latents are not used; --network-train-unet-only uses them");
	return run_captions_open(r, !cached || trained, e);
}

/* ---- the rest ---- */

static int set_length(struct run *r, struct error *e)
{
	struct train_settings *s = r->s;
	long per_epoch = order_updates_per_epoch(r->order, s->accumulate);

	r->total = s->max_epochs ? s->max_epochs * per_epoch : s->max_steps;
	if (s->save_epoch_ratio) {
		long each = (r->total + per_epoch - 1) / per_epoch / s->save_epoch_ratio;
		s->save_every_epochs = each ? each : 1;
	}
	r->lr = (struct lr_schedule){ .name = s->lr_scheduler, .total = r->total, .cycles = s->lr_cycles, .power = s->lr_power,
				      .end = s->learning_rate > 0 ? 1e-7 / s->learning_rate : 0, .min_ratio = s->lr_min_ratio };
	if (train_warmup_steps(s->warmup, r->total, &r->lr.warmup, e) < 0)
		return -1;
	if (!strcmp(s->lr_scheduler, "constant") && r->lr.warmup)
		return fail(e, EXIT_USAGE, "lr_scheduler 'constant' has no warm-up; use constant_with_warmup, or lr_warmup_steps = 0");
	if (!strcmp(s->lr_scheduler, "cosine_with_restarts") && s->lr_cycles <= 1)
		note("lr_scheduler 'cosine_with_restarts' with lr_scheduler_num_cycles = 1 never restarts: it is 'cosine'");
	return 0;
}

/* Keys that say where, when and on what a run writes, not what: with them a resumed run's state would differ from a straight one's. */
static const char *const elsewhere[] = { "output_dir", "output_name", "resume", "device", "gradient_checkpointing", "log", "html", "vram",
					 "resolution", "enable_bucket", "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps",
					 "bucket_no_upscale" };

/* The beginnings of such keys. */
static const char *const elsewhere_all[] = { "save_last_", "save_state", "save_every_", "save_n_", "sample_", "log_", "logging_", "validate_",
					     "max_validation_", "vae" };

static bool is_elsewhere(const char *line)
{
	size_t i;

	for (i = 0; i < sizeof(elsewhere) / sizeof(*elsewhere); i++)
		if (!strncmp(line, elsewhere[i], strlen(elsewhere[i])) && line[strlen(elsewhere[i])] == ' ')
			return true;
	for (i = 0; i < sizeof(elsewhere_all) / sizeof(*elsewhere_all); i++)
		if (!strncmp(line, elsewhere_all[i], strlen(elsewhere_all[i])))
			return true;
	return false;
}

/* The settings as TOML without those keys */
static char *own_config(const struct run *r)
{
	struct buffer all = { 0 }, kept = { 0 };
	char *text, *line, *rest;

	options_print(r->tool, &all, false);
	text = rest = buffer_steal(&all);
	while ((line = strsep(&rest, "\n")) && rest)
		if (!is_elsewhere(line))
			buffer_addf(&kept, "%s\n", line);
	free(text);
	return buffer_steal(&kept);
}

/* Words for what is off by default stand there only when it is on, so that states stay good. */
static void set_optional_identity(struct run *r)
{
	struct buffer words = { 0 };
	char *captions;

	buffer_adds(&words, r->identity);
	free(r->identity);
	if (r->s->ema_decay)
		buffer_addf(&words, " ema_decay=%.17g", r->s->ema_decay);
	run_adapter_identity(r, &words);
	captions = run_captions_identity(r);
	if (*captions)
		buffer_addf(&words, " captions=%s", captions);
	free(captions);
	if (r->s->max_token_length > 77)
		buffer_addf(&words, " max_token_length=%ld", r->s->max_token_length);
	if (r->held_out)
		buffer_addf(&words, " held_out=%zu validation_seed=%s", r->held_out, r->s->validation_seed ? r->s->validation_seed : "seed");
	r->identity = buffer_steal(&words);
}

static void set_identity(struct run *r)
{
	const struct train_settings *s = r->s;

	r->identity = xprintf("seed=%llu network_dim=%ld network_alpha=%.17g conv_dim=%ld conv_alpha=%.17g unet=%d text=%d "
			      "train_batch_size=%ld gradient_accumulation_steps=%ld optimizer=%s data=%s", (unsigned long long)r->seed,
			      s->rank, s->alpha, s->conv_rank, s->conv_alpha, !s->text_only, run_trains_text(r->s), s->batch_size,
			      s->accumulate, s->optimizer, r->data.digest);
	set_optional_identity(r);
	r->config = own_config(r);
}

static int read_seed(struct run *r, struct error *e)
{
	char *end;

	errno = 0;
	r->seed = strtoull(r->s->seed ? r->s->seed : "42", &end, 10);
	if (*end || errno || (r->s->seed && strchr(r->s->seed, '-')))
		return fail(e, EXIT_USAGE, "seed '%s' is no whole number from 0 to 2^64-1", r->s->seed);
	return 0;
}

int run_settings(struct run *r, struct error *e)
{
	struct optimizer_settings *o = &r->optimizer.settings;

	if (train_settings_finish(r->s, o, e) < 0 || read_seed(r, e) < 0)
		return -1;
	optimizer_advise(o, r->s->learning_rate, r->s->lr_scheduler);
	return 0;
}

static int prepare_data(struct run *r, const char *const *latents, size_t count, struct error *e)
{
	if (count || !(r->s->plan || r->s->check))
		return read_data(r, latents, count, e) < 0 ? -1 : set_length(r, e);
	if (run_imagine_data(r, e) < 0)
		return -1;
	run_make_order(r);
	return 0;
}

int run_prepare(struct run *r, const char *const *latents, size_t count, struct error *e)
{
	r->files = model_files_open(r->s->model, r->s->model_config, r->s->sample_prompts ? r->s->vae : NULL, e);
	if (!r->files || prepare_data(r, latents, count, e) < 0)
		return -1;
	if (objective_init(&r->objective, r->s, model_files_config(r->files), r->seed, e) < 0)
		return -1;
	set_identity(r);
	return r->s->print_lr ? 0 : run_samples_open(r, e);
}

int run_open_device(struct run *r, struct error *e)
{
	r->be = backend_find(r->s->device, e);
	r->device = r->be ? r->be->open(e) : NULL;
	return r->device ? 0 : -1;
}

/* What the plan counts of a device's own is there already, so it is no longer in the room. */
size_t run_limit(const struct run *r)
{
	const size_t said = r->s->vram_bytes, room = r->device ? r->be->room(r->device) : 0;
	struct error e;
	const struct plan_device *own = room ? plan_device(r->be->name, &e) : NULL;
	const size_t there = own ? room + own->workspace + own->context : 0;

	return !said || (there && there < said) ? there : said;
}

int run_settle(struct run *r, struct error *e)
{
	const struct planned what = run_as_set(r);
	struct savings s;
	struct plan p;
	int result = 0;

	if (run_plan(r, &what, run_limit(r), NULL, &p, e) < 0)
		return -1;
	if (!plan_fits(&p)) {
		run_find_savings(r, &p, &s);
		result = run_refuse(r, &p, &s, e);
	}
	r->way = p.way;
	r->activation_bytes = p.batch[p.largest].bytes;
	r->planned_bytes = p.peak;
	plan_free(&p);
	return result;
}

int run_load(struct run *r, struct error *e)
{
	if (!r->imagined && open_captions(r, e) < 0)
		return -1;
	if (run_load_text(r, e) < 0 || run_load_unet(r, e) < 0)
		return -1;
	return run_make_adapter(r, e);
}

int run_setup(struct run *r, struct error *e)
{
	if (run_settle(r, e) < 0 || run_load(r, e) < 0)
		return -1;
	return run_take_arena(r, e);
}

void run_free(struct run *r)
{
	progress_end(r->progress);
	run_samples_free(r);
	r->data.count += r->held_out;
	run_captions_free(r->captions);
	tape_free(r->tape);
	ema_free(&r->ema);
	optimizer_free(&r->optimizer);
	adapter_free(r->adapter);
	run_bases_free(r);
	layer_list_free(&r->layers);
	unet_free(r->unet);
	clip_free(r->te1);
	clip_free(r->te2);
	if (r->device)
		r->be->close(r->device);
	model_files_close(r->files);
	order_free(r->order);
	latent_set_free(&r->data);
	noise_schedule_free(&r->objective.schedule);
	noise_schedule_free(&r->objective.plain);
	free(r->identity);
	free(r->config);
	free(r->resumed);
	free(r->replayed);
	events_free(&r->events);
	if (r->lock >= 0)
		close(r->lock);
}
