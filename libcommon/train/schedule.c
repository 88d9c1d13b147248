/* The run's length and its learning-rate schedule: checks, and notes of rates that train nothing.  A length of 0 is not
 * known yet. */
#include <string.h>
#include <unistd.h>
#include "../io/json.h"
#include "course.h"
#include "settings/adapter.h"

static int check_schedule(const struct course *c, struct error *e)
{
	const struct lr_schedule *l = &c->lr;

	if (l->total && l->warmup + l->decay > l->total)
		return fail(e, EXIT_USAGE, "lr_warmup_steps and lr_decay_steps: %ld and %ld are more than the run's "
					   "%ld together; lower one", l->warmup, l->decay, l->total);
	if (!strcmp(l->name, "constant") && l->warmup)
		return fail(e, EXIT_USAGE, "lr_scheduler 'constant' has no warm-up; "
					   "use constant_with_warmup, or lr_warmup_steps = 0");
	if (!strcmp(l->name, "cosine_with_restarts") && l->cycles <= 1)
		note("lr_scheduler 'cosine_with_restarts' with lr_scheduler_num_cycles = 1 never restarts: "
		     "it is 'cosine'");
	if (!strcmp(l->name, "warmup_stable_decay") && !l->decay)
		note("lr_scheduler 'warmup_stable_decay' with lr_decay_steps = 0 never decays; "
		     "say over how many of the last steps it should");
	return 0;
}

/* Does any step have a learning rate above 0?  The first step of a warm-up has 0, and it may be the only one. */
static bool moves(const struct course *c, double rate)
{
	const struct optimizer_settings *o = &c->optimizer.settings;
	long k;

	if (optimizer_lr(o, rate, 1, 1) == 0)
		return false;
	for (k = 0; k < c->total; k++)
		if (optimizer_lr(o, rate, lr_multiplier(&c->lr, k), k + 1) != 0)
			return true;
	return !c->total;
}

/* Warns of UNet or text encoders that look trained and whose rate is 0 in every step.  Those with a rate of 0 in the
 * settings are not trained at all. */
static void tell_idle_rates(const struct course *c)
{
	const struct train_settings *s = c->s;
	const bool unet = !s->text_only, text = !s->unet_only, still_unet = unet && !moves(c, s->lr.unet);
	bool still_text = text;

	for (int i = 0; i < TEXT_ENCODERS && still_text; i++)
		still_text = !moves(c, s->lr.text[i]);

	if (still_unet >= unet && still_text >= text)
		warning("the learning rate is 0 in every step: nothing is learnt, the adapter stays as it begins; "
			"set learning_rate");
	else if (still_unet)
		warning("the UNet's learning rate is 0: its adapters stay as they begin; "
			"set unet_lr, or network_train_text_encoder_only");
	else if (still_text)
		warning("the text encoders' learning rate is 0: their adapters stay as they begin; "
			"set text_encoder_lr, or network_train_unet_only");
}

static int set_schedule(struct course *c, struct error *e)
{
	const struct train_settings *s = c->s;

	c->lr = (struct lr_schedule){ .name = s->lr_scheduler, .total = c->total, .cycles = s->lr_cycles,
				      .power = s->lr_power, .end = s->learning_rate > 0 ? 1e-7 / s->learning_rate : 0,
				      .min_ratio = s->lr_min_ratio, .timescale = s->lr_timescale };
	if (train_schedule_steps("lr_warmup_steps", s->warmup, c->total, &c->lr.warmup, e) < 0 ||
	    train_schedule_steps("lr_decay_steps", s->decay, c->total, &c->lr.decay, e) < 0)
		return -1;
	if (check_schedule(c, e) < 0)
		return -1;
	if (!c->looks_ahead)
		tell_idle_rates(c);
	return 0;
}

int course_set_length(struct course *c, long per_epoch, struct error *e)
{
	struct train_settings *s = c->s;

	c->total = s->max_epochs ? s->max_epochs * per_epoch : s->max_steps;
	if (s->save_epoch_ratio && per_epoch) {
		const long each = (c->total + per_epoch - 1) / per_epoch / s->save_epoch_ratio;
		s->save_every_epochs = each ? each : 1;
	}
	return set_schedule(c, e);
}

int course_print_lr(const struct course *c, struct error *e)
{
	struct json_out j = { 0 };
	long k;
	int result = 0;

	optimizer_explain_lr(&c->optimizer.settings);
	for (k = 0; k < c->total && !result; k++) {
		json_begin(&j, NULL);
		json_text(&j, "event", "lr");
		json_int(&j, "step", k + 1);
		json_number(&j, "lr", optimizer_lr(&c->optimizer.settings, adapter_settings_rate(c->s),
						   lr_multiplier(&c->lr, k), k + 1));
		json_end(&j);
		result = json_line(&j, STDOUT_FILENO, e);
	}
	json_free(&j);
	return result < 0 ? fail_at(e, "standard output") : 0;
}
