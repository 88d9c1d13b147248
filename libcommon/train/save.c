/* How a run writes an adapter and a state, and removes those of its own that are no longer kept. */
#include <stdlib.h>
#include <string.h>
#include "kohya_metadata.h"
#include "internal.h"

static enum dtype precision(const char *name)
{
	return !strcmp(name, "fp16") ? DTYPE_F16 : !strcmp(name, "bf16") ? DTYPE_BF16 : DTYPE_F32;
}

struct rotation run_adapter_rotation(const struct train_settings *s)
{
	return (struct rotation){ .all = s->keep_adapters, .steps = s->keep_steps, .epochs = s->keep_epochs };
}

/* With rules of their own for steps or epochs, the common number is that of the rest. */
struct rotation run_state_rotation(const struct train_settings *s)
{
	struct rotation keep = { .steps = s->keep_steps_state, .epochs = s->keep_epochs_state };

	if (keep.steps || keep.epochs)
		keep.others = s->keep_states;
	else
		keep.all = s->keep_states;
	return keep;
}

static void rotate(const struct run *r, const char *suffix, struct rotation keep, const struct step_set *damaged)
{
	saved_rotate(r->s->output_dir, r->s->output_name, suffix, r->keeper.mark, &keep, r->course.done, damaged);
}

int run_show_average(struct run *r, struct error *e)
{
	r->course.averaged = true;
	ema_swap(&r->course.ema);
	return optimizer_average(&r->course.optimizer, e);
}

void run_end_average(struct run *r)
{
	if (!r->course.averaged)
		return;
	r->course.averaged = false;
	optimizer_resume_training(&r->course.optimizer);
	ema_swap(&r->course.ema);
}

static void tell_owner(const struct run *r, unsigned by, struct metadata_list *facts)
{
	char *saved = saved_text(r->course.done, by);

	metadata_text(facts, RUN_KEY, r->keeper.mark);
	metadata_text(facts, SAVED_KEY, saved);
	free(saved);
}

int run_save_adapter(struct run *r, unsigned by, struct error *e)
{
	const char *folder = r->s->output_dir, *name = r->s->output_name;
	char *path = by == SAVED_AT_END ? run_adapter_path(r) : saved_path(folder, name, r->course.done, ADAPTER_SUFFIX);
	struct metadata_list facts = { 0 };
	int result;

	run_metadata(r, &facts);
	tell_owner(r, by, &facts);
	result = run_show_average(r, e);
	if (!result)
		result = adapter_save(r->net.adapter, path, precision(r->s->save_precision), facts.item, facts.count, e);
	run_end_average(r);
	metadata_free(&facts);
	if (!result) {
		report_save(r, "save", path);
		if (by != SAVED_AT_END)
			rotate(r, ADAPTER_SUFFIX, run_adapter_rotation(r->s), NULL);
	}
	free(path);
	return result;
}

int run_save_state(struct run *r, unsigned by, struct error *e)
{
	char *path = saved_path(r->s->output_dir, r->s->output_name, r->course.done, STATE_SUFFIX);
	const struct state_more more = { r->course.ema.value, r->witness.curves, CURVES };
	const struct state_facts facts = { r->course.done, by, r->keeper.identity, r->keeper.settings, r->keeper.config, r->keeper.mark };
	int result = state_save(path, &r->course.optimizer, &more, &facts, e);

	if (!result) {
		report_save(r, "state", path);
		step_set_drop(&r->keeper.damaged, r->course.done);
		rotate(r, STATE_SUFFIX, run_state_rotation(r->s), &r->keeper.damaged);
		r->keeper.saved_at = seconds_now();
	}
	free(path);
	return result;
}
