/* The identity of a run, "seed=42 network_dim=16 ...": the settings and data that a run must share with a state to go
 * on from it; and the mark, a hash of identity and settings. */
#include <stdlib.h>
#include <string.h>
#include "captions.h"
#include "keeper.h"

/* Adds what is off by default only where it is on, so that states of versions without it stay valid. */
static void set_optional_identity(struct keeper *k)
{
	struct buffer words = { 0 };
	char *captions;

	buffer_adds(&words, k->identity);
	free(k->identity);
	if (k->s->ema_decay)
		buffer_addf(&words, " ema_decay=%.17g", k->s->ema_decay);
	networks_adapter_identity(k->s, &words);
	captions = captions_identity(k->s);
	if (*captions)
		buffer_addf(&words, " captions=%s", captions);
	free(captions);
	if (k->s->replicas > 1)
		buffer_addf(&words, " replicas=%ld", k->s->replicas);
	if (k->s->max_token_length > 77)
		buffer_addf(&words, " max_token_length=%ld", k->s->max_token_length);
	if (strcmp(k->s->base_precision, "fp16"))
		buffer_addf(&words, " base_precision=%s", k->s->base_precision);
	if (k->data->held_out)
		buffer_addf(&words, " held_out=%zu validation_seed=%s", k->data->held_out,
			    k->s->validation_seed ? k->s->validation_seed : "seed");
	k->identity = buffer_steal(&words);
}

char *settings_of_run(const struct tool *tool, const char *config)
{
	char *defaults = settings_text_of_defaults(tool), *settings = mark_settings(config, defaults);

	free(defaults);
	return settings;
}

void keeper_set_identity(struct keeper *k)
{
	const struct train_settings *s = k->s;
	char model[65];

	model_files_mark(k->net->files, model);
	k->identity = xprintf("seed=%llu network_dim=%ld network_alpha=%.17g conv_dim=%ld conv_alpha=%.17g unet=%d "
			      "text=%d train_batch_size=%ld gradient_accumulation_steps=%ld optimizer=%s model=%.16s "
			      "data=%s", (unsigned long long)k->course->seed,
			      s->rank, s->alpha, s->conv_rank, s->conv_alpha, !s->text_only, trains_text(s),
			      s->batch_size, s->accumulate, s->optimizer, model, k->data->set.digest);
	set_optional_identity(k);
	k->config = settings_text(k->tool, IDENTITY_SHOWN);
	k->settings = settings_of_run(k->tool, k->config);
	run_mark(k->identity, k->settings, k->mark);
}
