/* What the settings say of saving: at which steps, how many are kept, the last adapter's name. */
#include "keeper.h"

unsigned keeper_due(const struct keeper *k, long step)
{
	const long per_epoch = data_updates_per_epoch(k->data), every = k->s->save_every_steps;
	const long epochs = k->s->save_every_epochs;
	unsigned by = 0;

	if (every && step % every == 0)
		by |= SAVED_BY_STEPS;
	if (epochs && step % (epochs * per_epoch) == 0)
		by |= SAVED_BY_EPOCHS;
	return by;
}

struct rotation adapter_rotation(const struct train_settings *s)
{
	return (struct rotation){ .all = s->keep_adapters, .steps = s->keep_steps, .epochs = s->keep_epochs };
}

/* Where steps or epochs have rules of their own, the common number is for all other reasons. */
struct rotation state_rotation(const struct train_settings *s)
{
	struct rotation keep = { .steps = s->keep_steps_state, .epochs = s->keep_epochs_state };

	if (keep.steps || keep.epochs)
		keep.others = s->keep_states;
	else
		keep.all = s->keep_states;
	return keep;
}

char *keeper_adapter_path(const struct keeper *k)
{
	return xprintf("%s/%s" ADAPTER_SUFFIX, k->s->output_dir, k->s->output_name);
}
