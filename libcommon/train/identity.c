#include <stdlib.h>
#include <string.h>
#include "captions.h"
#include "internal.h"

/* Keys that say where, when and on what a run writes, not what: with them a resumed run's state would differ from a straight one's. */
static const char *const elsewhere[] = { "output_dir", "output_name", "resume", "device", "gradient_checkpointing", "log", "html", "vram",
					 "resolution", "enable_bucket", "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps",
					 "bucket_no_upscale" };

/* The beginnings of such keys. */
static const char *const elsewhere_all[] = { "save_last_", "save_state", "save_every_", "save_n_", "sample_", "log_", "logging_", "validate_",
					     "max_validation_", "vae" };

/* Of these keys those that an adapter shows in its metadata all the same. */
static const char *const shown[] = { "output_name", "gradient_checkpointing" };

static bool is_key_of(const char *line, const char *const *key, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strncmp(line, key[i], strlen(key[i])) && line[strlen(key[i])] == ' ')
			return true;
	return false;
}

static bool is_elsewhere(const char *line)
{
	size_t i;

	if (is_key_of(line, elsewhere, sizeof(elsewhere) / sizeof(*elsewhere)))
		return true;
	for (i = 0; i < sizeof(elsewhere_all) / sizeof(*elsewhere_all); i++)
		if (!strncmp(line, elsewhere_all[i], strlen(elsewhere_all[i])))
			return true;
	return false;
}

char *run_config(const struct run *r, bool of_adapter)
{
	struct buffer all = { 0 }, kept = { 0 };
	char *text, *line, *rest;

	options_print(r->tool, &all, false);
	text = rest = buffer_steal(&all);
	while ((line = strsep(&rest, "\n")) && rest)
		if (!is_elsewhere(line) || (of_adapter && is_key_of(line, shown, sizeof(shown) / sizeof(*shown))))
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

static char *default_config(const struct run *r)
{
	struct train_settings s = { 0 };
	struct tool tool = *r->tool;
	struct buffer all = { 0 };

	tool.table = train_options(&s);
	options_defaults(&tool);
	options_print(&tool, &all, false);
	free((void *)tool.table);
	return buffer_steal(&all);
}

char *run_settings_of(const struct run *r, const char *config)
{
	char *defaults = default_config(r), *settings = mark_settings(config, defaults);

	free(defaults);
	return settings;
}

void run_set_identity(struct run *r)
{
	const struct train_settings *s = r->s;
	char model[65];

	model_files_mark(r->files, model);
	r->identity = xprintf("seed=%llu network_dim=%ld network_alpha=%.17g conv_dim=%ld conv_alpha=%.17g unet=%d text=%d "
			      "train_batch_size=%ld gradient_accumulation_steps=%ld optimizer=%s model=%.16s data=%s", (unsigned long long)r->seed,
			      s->rank, s->alpha, s->conv_rank, s->conv_alpha, !s->text_only, run_trains_text(r->s), s->batch_size,
			      s->accumulate, s->optimizer, model, r->data.digest);
	set_optional_identity(r);
	r->config = run_config(r, false);
	r->settings = run_settings_of(r, r->config);
	run_mark(r->identity, r->settings, r->mark);
}
