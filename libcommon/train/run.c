#include <math.h>
#include <stdlib.h>
#include "../io/publish.h"
#include "internal.h"
#include "run.h"
#include "run.h"
#include "stop.h"

#define NONFINITE_LIMIT 10

/* Returns the batch's own. */
static double add_losses(const struct run *r, const struct batch *b, const float *loss, int batches, struct step_facts *f)
{
	double mean = 0;
	int i;

	for (i = 0; i < b->n; i++) {
		int bin = b->timestep[i] * LOSS_BINS / r->course.objective.schedule.steps;
		mean += loss[i] / b->n;
		bin = bin < 0 ? 0 : bin < LOSS_BINS ? bin : LOSS_BINS - 1;
		f->bin_loss[bin] += loss[i];
		f->bin_samples[bin]++;
	}
	f->loss += mean / batches;
	f->samples += b->n;
	return mean;
}

static void all_batches(struct run *r, const struct order_place *place, struct batch *b, struct step_facts *f)
{
	float *loss = xmalloc(r->s->batch_size * sizeof(*loss));
	const struct batch_source from = { &r->data, &r->net, &r->course };
	double began = seconds_now(), ready;
	int micro;

	for (micro = 0; micro < place->batches; micro++) {
		batch_make(&from, place, micro, b);
		ready = seconds_now();
		f->data += ready - began;
		adapter_training(r->net.adapter, r->course.done, micro);
		step_run(r->net.tape, &r->net.step, b, 1.0f / r->s->accumulate, loss);
		began = seconds_now();
		f->compute += began - ready;
		loss_mean_add(&r->witness.mean, add_losses(r, b, loss, place->batches, f));
	}
	adapter_training_ends(r->net.adapter);
	free(loss);
}

/* One optimizer step: its batches forward and backward, then clip and move.  A step with a NaN or an infinity moves nothing. */
static void one_step(struct run *r, struct batch *b, struct step_facts *f)
{
	struct order_place place = data_place(&r->data, r->course.done);
	double began = seconds_now(), ready;

	*f = (struct step_facts){ .epoch = place.epoch, .lr = lr_multiplier(&r->course.lr, r->course.done) };
	all_batches(r, &place, b, f);
	ready = seconds_now();
	f->grad_norm = optimizer_grad_norm(&r->course.optimizer);
	f->finite = isfinite(f->loss) && isfinite(f->grad_norm);
	if (f->finite) {
		optimizer_step(&r->course.optimizer, f->lr, clip_scale(f->grad_norm, r->s->max_grad_norm));
		if (r->s->scale_weight_norms)
			f->norms = adapter_limit_norms(r->net.adapter, r->s->scale_weight_norms);
		ema_update(&r->course.ema, r->course.done + 1);
	} else {
		optimizer_forget(&r->course.optimizer);
		keeper_keep_nonfinite(&r->keeper, &place);
	}
	f->optimizer = seconds_now() - ready;
	f->seconds = seconds_now() - began;
}

/* What looks at the weights between two steps has the arena's room meanwhile.  If another program took it, all but the arena is there. */
static int look(struct run *r, bool validate, struct error *e)
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

/* 0 at the end, EXIT_SAVED when stopped on the way, -1: *e. */
static int loop(struct run *r, struct error *e)
{
	struct batch b = { 0 };
	int result;

	r->keeper.saved_at = seconds_now();
	result = look(r, false, e);
	stop_watch();
	while (r->course.done < r->course.total && !result) {
		struct step_facts f;
		one_step(r, &b, &f);
		r->course.done++;
		r->course.nonfinite = f.finite ? 0 : r->course.nonfinite + 1;
		report_step(&r->witness, &f);
		result = look(r, true, e);
		if (!result && r->course.nonfinite == NONFINITE_LIMIT)
			result = fail(e, EXIT_DIVERGED, "loss or gradient was not finite for %d steps in a row, at step %ld; lower the learning "
				      "rate; the last saved adapter is intact", NONFINITE_LIMIT, r->course.done);
		else if (!result)
			result = keeper_save_on_the_way(&r->keeper, e);
		if (!result && stop_wanted() && r->course.done < r->course.total)
			result = keeper_save_stopped(&r->keeper, e) < 0 ? -1 : EXIT_SAVED;
	}
	batch_free(&b);
	return result;
}

/* --replay-step: one step, on weights of the state that was resumed from, or new ones.  Its latents' numbers tell the batches apart. */
static int begin_replay(struct run *r, struct error *e)
{
	size_t i, most = (size_t)r->s->batch_size * r->s->accumulate;

	if (!r->s->replay_step)
		return 0;
	for (i = 0; i < r->data.set.count; i++)
		if (strtoul(r->data.set.sample[i].key, NULL, 10) >= most)
			return fail(e, EXIT_USAGE, "--replay-step: %zu samples are more than a step has; name a NAME-nonfinite-stepNNNNNNNN.tar, "
				    "and batch size and accumulation of its run", r->data.set.count);
	r->data.replaying = true;
	r->course.total = r->s->replay_step;
	r->course.done = r->course.total - 1;
	return 0;
}

static int run(struct run *r, const char *const *latents, size_t count, struct error *e)
{
	double limit = 0;
	char *adapter;
	bool finished;
	int result;

	if (r->s->max_duration && parse_duration(r->s->max_duration, &limit, e) < 0)
		return -1;
	if (run_settings(r, e) < 0 || keeper_claim_adapter(&r->keeper, e) < 0 || events_check(r->s, e) < 0)
		return -1;
	if (r->s->plan)
		return run_show_plan(r, latents, count, e);
	if (r->s->check)
		return run_check(r, latents, count, e);
	stop_clock(limit);
	if (!r->s->print_lr && (networks_open_device(&r->net, e) < 0 || run_look_ahead(r, latents, count, e) < 0 || keeper_lock(&r->keeper, e) < 0))
		return -1;
	if (run_prepare(r, latents, count, e) < 0)
		return -1;
	if (r->s->print_lr)
		return report_lr(&r->course, e);
	if (run_setup(r, e) < 0)
		return -1;
	if (keeper_resume(&r->keeper, e) < 0 || begin_replay(r, e) < 0 || keeper_check_end(&r->keeper, &finished, e) < 0)
		return -1;
	if (finished)
		return 0;
	keeper_tell_others(&r->keeper);
	if (!r->data.replaying && keeper_check_room(&r->keeper, false, e) < 0)
		return -1;
	if (keeper_claim_outputs(&r->keeper, e) < 0 || events_open(&r->witness.events, r->s, e) < 0 || events_open_board(&r->witness.events, r->s, r->course.done, e) < 0)
		return -1;
	loss_mean_begin(&r->witness.mean, order_batches(r->data.order));
	report_start(&r->witness, r->keeper.config, r->keeper.resumed);
	if (r->s->dry_run)
		return 0;
	result = loop(r, e);
	if (!result && !r->data.replaying)
		result = keeper_save_last(&r->keeper, e);
	progress_end(r->witness.progress);
	r->witness.progress = NULL;
	adapter = !result && !r->data.replaying ? keeper_adapter_path(&r->keeper) : NULL;
	report_end(&r->witness, result == EXIT_SAVED ? stop_reason() : result ? "error" : "done", adapter);
	if (result == EXIT_SAVED)
		note("stopped by %s after step %ld of %ld, saved; run again with --resume auto to go on", stop_reason(), r->course.done, r->course.total);
	if (adapter)
		witness_tell_result(&r->witness, adapter);
	free(adapter);
	return result;
}

int train_run(struct train_settings *s, const struct tool *tool, const char *const *latents, size_t count, struct error *e)
{
	struct run r;
	struct error late;
	int result;

	run_begin(&r, s, tool);
	result = run(&r, latents, count, e);
	if (events_close(&r.witness.events, s, &late) < 0) {
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
