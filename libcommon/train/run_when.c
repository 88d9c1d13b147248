/* When a run saves, and what becomes of it where one of two files cannot be written. */
#include "run_internal.h"
#include "stop.h"

/* enum saved_by */
static unsigned due_now(const struct run *r)
{
	const long per_epoch = order_updates_per_epoch(r->order, r->s->accumulate), every = r->s->save_every_steps;
	const long epochs = r->s->save_every_epochs;
	unsigned by = 0;

	if (every && r->done % every == 0)
		by |= SAVED_BY_STEPS;
	if (epochs && r->done % (epochs * per_epoch) == 0)
		by |= SAVED_BY_EPOCHS;
	return by;
}

/* By the clock a state is enough: it is what is lost when a machine is taken away. */
static unsigned due_by_clock(const struct run *r)
{
	return r->s->save_every_minutes && seconds_now() - r->saved_at >= 60 * r->s->save_every_minutes ? SAVED_BY_CLOCK : 0;
}

/* A disk that is full now may have room at the end: only the last save decides the exit code. */
static int save_or_owe(struct run *r, int (*save)(struct run *, unsigned, struct error *), unsigned *owed, struct error *e)
{
	const unsigned by = *owed;

	if (!by)
		return 0;
	if (save(r, by, e) == 0) {
		*owed = 0;
		return 0;
	}
	if (e->code != EXIT_IO)
		return -1;
	warning("%s; training goes on, the save is tried again after the next step", e->text);
	*e = (struct error){ 0 };
	return 0;
}

int run_save_on_the_way(struct run *r, struct error *e)
{
	const unsigned due = due_now(r) | (save_wanted() ? SAVED_ON_REQUEST : 0);

	if (r->done == r->total)
		return 0;
	r->owed_adapter |= due;
	r->owed_state |= due_by_clock(r) | (r->s->save_state ? due : due & SAVED_ON_REQUEST);
	return save_or_owe(r, run_save_adapter, &r->owed_adapter, e) < 0 ? -1 : save_or_owe(r, run_save_state, &r->owed_state, e);
}

/* A state alone is enough to go on from.  Where there is no room for one, an adapter may still find some. */
int run_save_stopped(struct run *r, struct error *e)
{
	struct error late;

	if (run_save_state(r, SAVED_AT_STOP, e) == 0)
		return 0;
	if (run_save_adapter(r, SAVED_AT_STOP, &late) == 0)
		warning("step %ld has no state to go on from, only an adapter", r->done);
	else
		warning("%s", late.text);
	return -1;
}

/* Both are tried, whatever becomes of the first; the first failure is the run's, another one is said. */
int run_save_last(struct run *r, struct error *e)
{
	const bool state = r->s->save_state || r->s->save_state_at_end;
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
