/* When a run saves adapters and states, and what happens where one of them cannot be written. */
#include "keeper.h"
#include "stop.h"

/* By the clock only a state is saved: it is what would be lost when a machine is taken away. */
static unsigned due_by_clock(const struct keeper *k)
{
	const bool owed = k->owed[RUN_STATE] & SAVED_BY_CLOCK;

	return k->s->save_every_minutes && !owed &&
		seconds_now() - k->saved_at >= 60 * k->s->save_every_minutes ? SAVED_BY_CLOCK : 0;
}

/* Saves a file for the reasons in due (enum saved_by).  A full disk costs a warning, since it may have room later: only
 * the last save decides the exit code.  What could not be saved before is tried again without another warning.  A
 * number that is not finite is a failure. */
static int save_or_owe(struct keeper *k, enum run_file file, unsigned due, struct error *e)
{
	const unsigned by = k->owed[file] | due;

	if (!by)
		return 0;
	if (keeper_leave_room(k, file, e) == 0 &&
	    (file == RUN_STATE ? keeper_save_state : keeper_save_adapter)(k, by, e) == 0) {
		k->owed[file] = 0;
		return 0;
	}
	if (e->code == EXIT_DIVERGED)
		return -1;
	k->owed[file] = by;
	if (due)
		warning("%s; training goes on, the save is tried again after the next step", e->text);
	*e = (struct error){ 0 };
	return 0;
}

int keeper_save_on_the_way(struct keeper *k, struct error *e)
{
	const bool asked = save_wanted();
	const unsigned due = keeper_due(k, k->course->done) | (asked ? SAVED_ON_REQUEST : 0);
	const unsigned state = (k->s->save_state ? due : due & SAVED_ON_REQUEST) | due_by_clock(k);

	if (k->course->done == k->course->total)
		return 0;
	return save_or_owe(k, RUN_ADAPTER, due, e) < 0 ? -1 : save_or_owe(k, RUN_STATE, state, e);
}

/* Saves a state, which is enough to go on from; where there is no room for it, an adapter. */
int keeper_save_stopped(struct keeper *k, struct error *e)
{
	struct error late;

	if (keeper_save_state(k, SAVED_AT_STOP, e) == 0)
		return 0;
	if (keeper_save_adapter(k, SAVED_AT_STOP, &late) == 0)
		warning("step %ld has no state to go on from, only an adapter", k->course->done);
	else
		warning("%s", late.text);
	return -1;
}

/* Saves the last adapter and state.  The state that a run resumed from is not written again.  Both are tried even where
 * the first fails; the first failure is the run's, a second one is a warning. */
int keeper_save_last(struct keeper *k, struct error *e)
{
	const bool state = (k->s->save_state || k->s->save_state_at_end) &&
		(!k->resumed || k->course->done > k->resumed_step);
	struct error late;
	int result = keeper_save_adapter(k, SAVED_AT_END, e);

	if (!state || keeper_save_state(k, SAVED_AT_END, &late) == 0)
		return result;
	if (result < 0)
		warning("%s", late.text);
	else
		*e = late;
	return -1;
}
