/* What a state must have in common with a run that goes on from it, in words; and the mark of that and the settings. */
#include <stdlib.h>
#include <string.h>
#include "captions.h"
#include "internal.h"

/* Words for what is off by default stand there only when it is on, so that states stay good. */
static void set_optional_identity(struct run *r)
{
	struct buffer words = { 0 };
	char *captions;

	buffer_adds(&words, r->keeper.identity);
	free(r->keeper.identity);
	if (r->s->ema_decay)
		buffer_addf(&words, " ema_decay=%.17g", r->s->ema_decay);
	run_adapter_identity(r, &words);
	captions = run_captions_identity(r);
	if (*captions)
		buffer_addf(&words, " captions=%s", captions);
	free(captions);
	if (r->s->max_token_length > 77)
		buffer_addf(&words, " max_token_length=%ld", r->s->max_token_length);
	if (r->data.held_out)
		buffer_addf(&words, " held_out=%zu validation_seed=%s", r->data.held_out, r->s->validation_seed ? r->s->validation_seed : "seed");
	r->keeper.identity = buffer_steal(&words);
}

char *run_settings_of(const struct run *r, const char *config)
{
	char *defaults = settings_text_of_defaults(r->tool), *settings = mark_settings(config, defaults);

	free(defaults);
	return settings;
}

void run_set_identity(struct run *r)
{
	const struct train_settings *s = r->s;
	char model[65];

	model_files_mark(r->net.files, model);
	r->keeper.identity = xprintf("seed=%llu network_dim=%ld network_alpha=%.17g conv_dim=%ld conv_alpha=%.17g unet=%d text=%d "
			      "train_batch_size=%ld gradient_accumulation_steps=%ld optimizer=%s model=%.16s data=%s", (unsigned long long)r->course.seed,
			      s->rank, s->alpha, s->conv_rank, s->conv_alpha, !s->text_only, run_trains_text(r->s), s->batch_size,
			      s->accumulate, s->optimizer, model, r->data.set.digest);
	set_optional_identity(r);
	r->keeper.config = settings_text(r->tool, IDENTITY_SHOWN);
	r->keeper.settings = run_settings_of(r, r->keeper.config);
	run_mark(r->keeper.identity, r->keeper.settings, r->keeper.mark);
}
