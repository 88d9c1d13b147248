/* Writing an adapter and a state, and removing those of this run that are no longer kept. */
#include <stdlib.h>
#include <string.h>
#include "../readers/readers.h"
#include "kohya_metadata.h"
#include "keeper.h"

static void rotate(const struct keeper *k, const char *suffix, struct rotation keep, const struct step_set *damaged)
{
	saved_rotate(k->s->output_dir, k->s->output_name, suffix, k->mark, &keep, k->course->done, damaged);
}

static void tell_owner(const struct keeper *k, unsigned by, struct metadata_list *facts)
{
	char *saved = saved_text(k->course->done, by);

	metadata_text(facts, RUN_KEY, k->mark);
	metadata_text(facts, SAVED_KEY, saved);
	free(saved);
}

int keeper_save_adapter(struct keeper *k, unsigned by, struct error *e)
{
	const char *folder = k->s->output_dir, *name = k->s->output_name;
	char *path = by == SAVED_AT_END ? keeper_adapter_path(k) :
		saved_path(folder, name, k->course->done, ADAPTER_SUFFIX);
	struct metadata_list facts = { 0 };
	int result;

	kohya_metadata(k, &facts);
	tell_owner(k, by, &facts);
	result = course_show_average(k->course, e);
	if (!result)
		result = adapter_save(k->net->adapter, path, dtype_from_precision(k->s->save_precision), facts.item,
				      facts.count, e);
	course_end_average(k->course);
	metadata_free(&facts);
	k->saved |= !result;
	if (!result) {
		report_path(&k->witness->log, k->course->done, "save", path);
		if (by != SAVED_AT_END)
			rotate(k, ADAPTER_SUFFIX, adapter_rotation(k->s), NULL);
		else
			readers_note(path);
	}
	free(path);
	return result;
}

int keeper_save_state(struct keeper *k, unsigned by, struct error *e)
{
	char *path = saved_path(k->s->output_dir, k->s->output_name, k->course->done, STATE_SUFFIX);
	const struct state_more more = { k->course->ema.value, k->witness->log.curves, CURVES };
	const struct state_facts facts = { k->course->done, by, k->identity, k->settings, k->config, k->mark };
	int result = state_save(path, &k->course->optimizer, &more, &facts, e);

	k->saved |= !result;
	if (!result) {
		report_path(&k->witness->log, k->course->done, "state", path);
		step_set_drop(&k->damaged, k->course->done);
		rotate(k, STATE_SUFFIX, state_rotation(k->s), &k->damaged);
		k->saved_at = seconds_now();
	}
	free(path);
	return result;
}
