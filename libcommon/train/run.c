/* A training run, from the settings to the last file. */
#include <stdlib.h>
#include "../io/publish.h"
#include "run.h"
#include "stop.h"

#define NONFINITE_LIMIT 10

/* Validates and paints samples, between two steps.  The arena is freed for it and allocated again.  If another program
 * took that memory meanwhile, the run is saved: nothing is missing but the arena. */
static int look_at_weights(struct run *r, bool validate, struct error *e)
{
	struct error late;

	if (validate)
		witness_validate(&r->witness);
	witness_sample(&r->witness);
	if (networks_take_arena(&r->net, e) == 0)
		return 0;
	if (keeper_save_stopped(&r->keeper, &late) == 0)
		note("step %ld is saved; --resume auto goes on from it", r->course.done);
	else
		warning("%s", late.text);
	return -1;
}

/* Runs all steps.  0: done; EXIT_SAVED: stopped and saved; -1: *e. */
static int train(struct run *r, struct error *e)
{
	struct course *c = &r->course;
	struct batch b = { 0 };
	int result;

	r->keeper.saved_at = seconds_now();
	result = look_at_weights(r, false, e);
	stop_watch();
	while (c->done < c->total && !result) {
		struct step_facts f;
		run_step(r, &b, &f);
		c->done++;
		c->nonfinite = f.finite ? 0 : c->nonfinite + 1;
		report_step(&r->witness.log, r->s, &c->optimizer, &f);
		result = look_at_weights(r, true, e);
		if (!result && c->nonfinite == NONFINITE_LIMIT)
			result = fail(e, EXIT_DIVERGED, "loss or gradient was not finite for %d steps in a row, "
							"at step %ld; lower the learning rate; "
							"the last saved adapter is intact", NONFINITE_LIMIT, c->done);
		else if (!result)
			result = keeper_save_on_the_way(&r->keeper, e);
		if (!result && stop_wanted() && c->done < c->total) {
			networks_give_arena(&r->net);   /* a state that was not asked for is not in the plan */
			result = keeper_save_stopped(&r->keeper, e) < 0 ? -1 : EXIT_SAVED;
		}
	}
	batch_free(&b);
	return result;
}

/* --replay-step: runs one step, with the weights of the resumed state, or new ones. */
static int begin_replay(struct run *r, struct error *e)
{
	if (!r->s->replay_step)
		return 0;
	if (data_begin_replay(&r->data, e) < 0)
		return -1;
	r->course.total = r->s->replay_step;
	r->course.done = r->course.total - 1;
	return 0;
}

/* Resumes from a state, if any; checks that the disk has room for what the run will save, and that it overwrites none
 * of its inputs. */
static int look_at_folder(struct run *r, bool *finished, struct error *e)
{
	struct keeper *k = &r->keeper;

	if (keeper_resume(k, e) < 0 || begin_replay(r, e) < 0 || keeper_check_end(k, finished, e) < 0)
		return -1;
	if (*finished)
		return 0;
	keeper_tell_others(k);
	if (!r->data.replaying && keeper_check_room(k, false, e) < 0)
		return -1;
	return keeper_claim_outputs(k, e);
}

static int begin_reports(struct run *r, struct error *e)
{
	struct witness *w = &r->witness;

	if (events_open(&w->log.events, r->s, e) < 0 || events_open_board(&w->log.events, r->s, r->course.done, e) < 0)
		return -1;
	witness_tell_start(w, r->keeper.config, r->keeper.resumed);
	return 0;
}

static void end_reports(struct run *r, int result)
{
	char *adapter = !result && !r->data.replaying ? keeper_adapter_path(&r->keeper) : NULL;

	report_end(&r->witness.log, r->course.done, result == EXIT_SAVED ? stop_reason() : result ? "error" : "done",
		   adapter);
	if (result == EXIT_SAVED)
		note("stopped by %s after step %ld of %ld, saved; run again with --resume auto to go on", stop_reason(),
		     r->course.done, r->course.total);
	if (adapter)
		witness_tell_result(&r->witness, adapter);
	free(adapter);
}

/* Trains and saves, once networks and adapter are on the device. */
static int train_and_save(struct run *r, struct error *e)
{
	bool finished;
	int result;

	if (look_at_folder(r, &finished, e) < 0)
		return -1;
	if (finished)
		return 0;
	if (begin_reports(r, e) < 0)
		return -1;
	if (r->s->dry_run)
		return 0;
	result = train(r, e);
	if (!result && !r->data.replaying)
		result = keeper_save_last(&r->keeper, e);
	end_reports(r, result);
	return result;
}

static int run(struct run *r, const char *const *latents, size_t count, struct error *e)
{
	double limit = 0;

	if (r->s->max_duration && parse_duration(r->s->max_duration, &limit, e) < 0)
		return -1;
	if (run_settings(r, e) < 0 || keeper_claim_adapter(&r->keeper, e) < 0 || events_check(r->s, e) < 0)
		return -1;
	if (r->s->plan)
		return run_show_plan(r, latents, count, e);
	if (r->s->check)
		return run_check(r, latents, count, e);
	stop_clock(limit);
	if (r->s->print_lr)
		return run_prepare(r, latents, count, e) < 0 ? -1 : course_print_lr(&r->course, e);
	if (networks_open_device(&r->net, e) < 0 || run_refuse_early(r, latents, count, e) < 0 ||
	    keeper_lock(&r->keeper, e) < 0)
		return -1;
	if (run_prepare(r, latents, count, e) < 0 || run_fit(r, e) < 0 || run_load(r, e) < 0 ||
	    networks_take_arena(&r->net, e) < 0)
		return -1;
	return train_and_save(r, e);
}

int train_run(struct train_settings *s, const struct tool *tool, const char *const *latents, size_t count,
	      struct error *e)
{
	struct run r;
	struct error late;
	int result;

	run_begin(&r, s, tool);
	result = run(&r, latents, count, e);
	if (events_close(&r.witness.log.events, s, &late) < 0) {
		if (result < 0)
			warning("%s", late.text);
		else
			*e = late;
		result = -1;
	}
	run_free(&r);
	if (result == EXIT_SAVED)
		return stop_now();
	return result < 0 ? e->code : EXIT_DONE;
}
