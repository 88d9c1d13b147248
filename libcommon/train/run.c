/* A training run, from the settings to the last file. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory_room.h"
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

/* After a step rank 0 shows, paints, saves.  0: the run goes on; EXIT_SAVED: it was told to stop; -1: *e. */
static int after_step(struct run *r, struct step_facts *f, struct error *e)
{
	struct course *c = &r->course;

	witness_tell_step(&r->witness, f);
	if (look_at_weights(r, true, e) < 0)
		return -1;
	if (c->nonfinite == NONFINITE_LIMIT)
		return 0;
	if (keeper_save_on_the_way(&r->keeper, e) < 0)
		return -1;
	if (!stop_wanted() || c->done == c->total)
		return 0;
	networks_give_arena(&r->net);   /* a state that was not asked for is not in the plan */
	return keeper_save_stopped(&r->keeper, e) < 0 ? -1 : EXIT_SAVED;
}

/* Runs all steps.  0: done; EXIT_SAVED: stopped and saved; -1: *e. */
static int train(struct run *r, struct error *e)
{
	struct course *c = &r->course;
	struct batches b = { 0 };
	int result;

	r->keeper.saved_at = seconds_now();
	result = share_led(&r->share, c, run_leads(r) ? look_at_weights(r, false, e) : 0);
	stop_watch();
	while (c->done < c->total && !result) {
		struct step_facts f;
		if (run_leads(r))
			witness_step_begins(&r->witness);
		run_step(r, &b, &f);
		c->done++;
		c->nonfinite = f.finite ? 0 : c->nonfinite + 1;
		share_signals(&r->share);
		result = share_led(&r->share, c, run_leads(r) ? after_step(r, &f, e) : 0);
		r->share.agreed = !result && c->nonfinite == NONFINITE_LIMIT;
		if (r->share.agreed)
			result = fail(e, EXIT_DIVERGED, "loss or gradient was not finite for %d steps in a row, "
							"at step %ld; lower the learning rate; %s",
				      NONFINITE_LIMIT, c->done, r->keeper.saved || r->keeper.resumed ?
				      "what was saved before is intact" : "nothing was saved");
	}
	batch_free(&b.of[0]);
	batch_free(&b.of[1]);
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

/* Rank 0 has looked at the folder; the others go on from what it found, so that they need not see it. */
static int begin_where_rank_0_is(struct run *r, bool *finished, struct error *e)
{
	int result = share_led(&r->share, &r->course, run_leads(r) ? look_at_folder(r, finished, e) : 0);
	struct { long done, total; bool finished; } begin = { r->course.done, r->course.total, *finished };

	if (r->share.ranks.count == 1)
		return result;
	if (share_meeting(&r->share, &(struct share_facts){ .result = result }, e) < 0)
		return -1;
	ranks_spread(&r->share.ranks, &begin, sizeof(begin));
	r->course.done = begin.done;
	r->course.total = begin.total;
	*finished = begin.finished;
	state_spread(&r->course.optimizer);
	return 0;
}

static int begin_reports(struct run *r, struct error *e)
{
	struct witness *w = &r->witness;

	if (!run_leads(r))
		return 0;
	w->log.events.give_up = stop_wanted;
	if (events_open(&w->log.events, r->s, e) < 0 || events_open_board(&w->log.events, r->s, r->course.done, e) < 0)
		return -1;
	witness_tell_start(w, r->keeper.config, r->keeper.resumed, r->share.engine, r->share.not_joined);
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
	bool finished = false;
	int result;

	if (begin_where_rank_0_is(r, &finished, e) < 0)
		return -1;
	if (finished)
		return 0;
	if (begin_reports(r, e) < 0)
		return -1;
	if (r->s->dry_run)
		return 0;
	result = train(r, e);
	if (!result && !r->data.replaying)
		result = share_led(&r->share, &r->course, run_leads(r) ? keeper_save_last(&r->keeper, e) : 0);
	if (run_leads(r))
		end_reports(r, result);
	return result;
}

static bool only_tells(const struct run *r)
{
	return r->s->plan || r->s->check || r->s->print_lr;
}

static int open_device(struct run *r, struct error *e)
{
	if (run_settings(r, e) < 0 || keeper_claim_adapter(&r->keeper, e) < 0 || events_check(r->s, e) < 0)
		return -1;
	return only_tells(r) ? 0 : networks_open_device(&r->net, e);
}

/* From the settings to a run that could begin. */
static int prepare(struct run *r, const char *const *latents, size_t count, struct error *e)
{
	const int result = open_device(r, e);

	share_join_devices(&r->share, r->net.be, r->net.device);
	if (result < 0 || only_tells(r))
		return result;
	if (run_refuse_early(r, latents, count, e) < 0 || (run_leads(r) && keeper_lock(&r->keeper, e) < 0))
		return -1;
	if (run_prepare(r, latents, count, e) < 0 || run_fit(r, e) < 0 || run_load(r, e) < 0)
		return -1;
	return networks_take_arena(&r->net, e);
}

static int run(struct run *r, const char *const *latents, size_t count, struct error *e)
{
	double limit = INFINITY;
	int result;

	if (r->s->max_duration && parse_duration(r->s->max_duration, &limit, e) < 0)
		return -1;
	if (!r->s->plan && !r->s->check)
		stop_clock(limit);
	result = prepare(r, latents, count, e);
	if (share_meeting(&r->share, &(struct share_facts){ r->keeper.identity, r->keeper.settings, result }, e) < 0)
		return -1;
	if (r->s->plan)
		return run_show_plan(r, latents, count, e);
	if (r->s->check)
		return run_check(r, latents, count, e);
	if (r->s->print_lr)
		return run_prepare(r, latents, count, e) < 0 ? -1 : course_print_lr(&r->course, e);
	return train_and_save(r, e);
}

static bool says_nothing(const char *line)
{
	return true;
}

/* Only a run that trains has ranks.  The others than rank 0 are silent: it says the same. */
static int open_ranks(struct run *r, const char *const *latents, size_t count, struct error *e)
{
	size_t i;

	if (only_tells(r) || r->s->replay_step)
		return 0;
	if (ranks_open(&r->share.ranks, e) < 0)
		return -1;
	if (r->share.ranks.here > 1)
		r->net.host_room = memory_room(r->share.ranks.here);
	for (i = 0; i < count && strcmp(latents[i], "-"); i++)
		;
	if (r->share.ranks.count > 1 && (!count || i < count)) {
		r->share.agreed = true;
		return fail(e, EXIT_USAGE, "several ranks cannot read latents from one pipe; name a tar that all see");
	}
	if (!run_leads(r)) {
		notes_kept_by(says_nothing);
		quiet(1);
	}
	return 0;
}

/* Where a rank fails alone the others wait for it: the job ends. */
static void end_ranks(struct run *r, int result, struct error *e)
{
	if (result < 0 && !r->share.agreed && r->share.ranks.count > 1) {
		report(options_explain(e));
		ranks_abort(&r->share.ranks, e->code);
	}
	ranks_close(&r->share.ranks);
}

int train_run(struct train_settings *s, const struct tool *tool, const char *const *latents, size_t count,
	      struct error *e)
{
	struct run r;
	struct error late;
	bool leads;
	int result;

	memory_return();        /* which a plan counts on */
	run_begin(&r, s, tool);
	result = open_ranks(&r, latents, count, e) < 0 ? -1 : run(&r, latents, count, e);
	if (events_close(&r.witness.log.events, s, &late) < 0) {
		if (result < 0)
			warning("%s", late.text);
		else
			*e = late;
		result = -1;
	}
	leads = run_leads(&r);
	end_ranks(&r, result, e);
	run_free(&r);
	/* A launcher kills the rest of a job when one rank is done with another status: rank 0 alone has one. */
	if (!leads)
		return EXIT_DONE;
	if (result == EXIT_SAVED)
		return stop_now();
	return result < 0 ? e->code : EXIT_DONE;
}
