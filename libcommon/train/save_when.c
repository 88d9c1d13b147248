/* When a run saves, and what becomes of it where one of two files cannot be written. */
#include "internal.h"
#include "stop.h"

unsigned run_due(const struct run *r, long step)
{
	const long per_epoch = order_updates_per_epoch(r->data.order, r->s->accumulate), every = r->s->save_every_steps;
	const long epochs = r->s->save_every_epochs;
	unsigned by = 0;

	if (every && step % every == 0)
		by |= SAVED_BY_STEPS;
	if (epochs && step % (epochs * per_epoch) == 0)
		by |= SAVED_BY_EPOCHS;
	return by;
}

/* By the clock a state is enough: it is what is lost when a machine is taken away. */
static unsigned due_by_clock(const struct run *r)
{
	const bool owed = r->keeper.owed[RUN_STATE] & SAVED_BY_CLOCK;

	return r->s->save_every_minutes && !owed && seconds_now() - r->keeper.saved_at >= 60 * r->s->save_every_minutes ? SAVED_BY_CLOCK : 0;
}

/* A disk that is full now may have room at the end: only the last save decides the exit code.  Numbers that are not finite will be so at the
 * end too.  due: why one should be saved now; what could
 * not be saved before is tried again in silence. */
static int save_or_owe(struct run *r, enum run_file file, unsigned due, struct error *e)
{
	const unsigned by = r->keeper.owed[file] | due;

	if (!by)
		return 0;
	if (run_leave_room(r, file, e) == 0 && (file == RUN_STATE ? run_save_state : run_save_adapter)(r, by, e) == 0) {
		r->keeper.owed[file] = 0;
		return 0;
	}
	if (e->code == EXIT_DIVERGED)
		return -1;
	r->keeper.owed[file] = by;
	if (due)
		warning("%s; training goes on, the save is tried again after the next step", e->text);
	*e = (struct error){ 0 };
	return 0;
}

int run_save_on_the_way(struct run *r, struct error *e)
{
	const bool asked = save_wanted();
	const unsigned due = run_due(r, r->course.done) | (asked ? SAVED_ON_REQUEST : 0);
	const unsigned state = (r->s->save_state ? due : due & SAVED_ON_REQUEST) | due_by_clock(r);

	if (r->course.done == r->course.total)
		return 0;
	return save_or_owe(r, RUN_ADAPTER, due, e) < 0 ? -1 : save_or_owe(r, RUN_STATE, state, e);
}

/* A state alone is enough to go on from.  Where there is no room for one, an adapter may still find some. */
int run_save_stopped(struct run *r, struct error *e)
{
	struct error late;

	if (run_save_state(r, SAVED_AT_STOP, e) == 0)
		return 0;
	if (run_save_adapter(r, SAVED_AT_STOP, &late) == 0)
		warning("step %ld has no state to go on from, only an adapter", r->course.done);
	else
		warning("%s", late.text);
	return -1;
}

/* The state that a run resumed from is not written again.  Both are tried, whatever becomes of the first; the first failure is the run's,
 * another one is said. */
int run_save_last(struct run *r, struct error *e)
{
	const bool state = (r->s->save_state || r->s->save_state_at_end) && (!r->keeper.resumed || r->course.done > r->keeper.resumed_step);
	struct error late;
	int result = run_save_adapter(r, SAVED_AT_END, e);

	if (!state || run_save_state(r, SAVED_AT_END, &late) == 0)
		return result;
	if (result < 0)
		warning("%s", late.text);
	else
		*e = late;
	return -1;
}
