#include <math.h>
#include <stdlib.h>
#include "../io/publish.h"
#include "run_internal.h"
#include "stop.h"

#define NONFINITE_LIMIT 10

/* One optimizer step: its batches forward and backward, then clip and move.  A step with a NaN or an infinity moves nothing. */
static void one_step(struct run *r, struct batch *b, struct step_facts *f)
{
	struct order_place place = order_place(r->order, r->done, r->s->accumulate);
	double began = seconds_now(), sum = 0, norm;
	float *loss = xmalloc(r->s->batch_size * sizeof(*loss));
	int micro, i;

	*f = (struct step_facts){ .epoch = place.epoch, .lr = lr_multiplier(&r->lr, r->done) };
	for (micro = 0; micro < place.batches; micro++) {
		double mean = 0;
		run_batch(r, &place, micro, b);
		step_run(r->tape, &r->networks, b, 1.0f / r->s->accumulate, loss);
		for (i = 0; i < b->n; i++)
			mean += loss[i] / b->n;
		sum += mean / place.batches;
		f->samples += b->n;
	}
	free(loss);
	norm = optimizer_grad_norm(&r->optimizer);
	f->finite = isfinite(sum) && isfinite(norm);
	if (f->finite)
		optimizer_step(&r->optimizer, f->lr, clip_scale(norm, r->s->max_grad_norm));
	else
		optimizer_forget(&r->optimizer);
	f->loss = sum;
	f->grad_norm = norm;
	f->seconds = seconds_now() - began;
}

static bool save_due(const struct run *r)
{
	long per_epoch = order_updates_per_epoch(r->order, r->s->accumulate), every = r->s->save_every_steps;
	long epochs = r->s->save_every_epochs;

	return (every && r->done % every == 0) || (epochs && r->done % (epochs * per_epoch) == 0);
}

/* A disk that is full now may have room at the end: only the last save decides the exit code.  *e is used up. */
static int save_on_the_way(struct run *r, struct error *e)
{
	bool asked = save_wanted();

	if (r->done == r->total || (!asked && !save_due(r) && !r->save_failed))
		return 0;
	r->save_failed = run_save_adapter(r, false, e) < 0 || ((r->s->save_state || asked) && run_save_state(r, e) < 0);
	if (!r->save_failed)
		return 0;
	if (e->code != EXIT_IO)
		return -1;
	warning("%s; training goes on, the save is tried again after the next step", e->text);
	*e = (struct error){ 0 };
	return 0;
}

/* 0 at the end, EXIT_SAVED when stopped on the way, -1: *e. */
static int loop(struct run *r, struct error *e)
{
	struct batch b = { 0 };
	int result = 0;

	while (r->done < r->total && !result) {
		struct step_facts f;
		one_step(r, &b, &f);
		r->done++;
		r->nonfinite = f.finite ? 0 : r->nonfinite + 1;
		report_step(r, &f);
		if (r->nonfinite == NONFINITE_LIMIT)
			result = fail(e, EXIT_DIVERGED, "loss or gradient was not finite for %d steps in a row, at step %ld; lower the learning "
				      "rate; the last saved adapter is intact", NONFINITE_LIMIT, r->done);
		else
			result = save_on_the_way(r, e);
		if (!result && stop_wanted() && r->done < r->total)
			result = run_save_state(r, e) < 0 ? -1 : EXIT_SAVED;
	}
	run_batch_free(&b);
	return result;
}

static int finish(struct run *r, struct error *e)
{
	if (r->s->save_state && run_save_state(r, e) < 0)
		return -1;
	return run_save_adapter(r, true, e);
}

static int run(struct run *r, const char *const *latents, size_t count, struct error *e)
{
	double limit = 0;
	int result;

	if (r->s->max_duration && parse_duration(r->s->max_duration, &limit, e) < 0)
		return -1;
	if (run_settings(r, e) < 0)
		return -1;
	stop_watch(limit);
	if ((!r->s->print_lr && run_lock(r, e) < 0) || run_setup(r, latents, count, e) < 0)
		return -1;
	if (r->s->print_lr)
		return report_lr(r, e);
	if (run_resume(r, e) < 0)
		return -1;
	report_start(r);
	if (r->s->dry_run)
		return 0;
	result = loop(r, e);
	if (!result)
		result = finish(r, e);
	progress_end(r->progress);
	r->progress = NULL;
	report_end(r, result == EXIT_SAVED ? stop_reason() : result ? "error" : "done");
	if (result == EXIT_SAVED)
		note("stopped by %s after step %ld of %ld, saved; run again with --resume auto to go on", stop_reason(), r->done, r->total);
	return result;
}

int train_run(struct train_settings *s, const struct tool *tool, const char *const *latents, size_t count, struct error *e)
{
	struct run r = { .s = s, .tool = tool, .lock = -1, .json = 1 };
	int result = run(&r, latents, count, e);

	if (!result && r.lost.code) {
		*e = r.lost;
		result = fail_at(e, "standard output: the adapter is saved, its metrics are not complete");
	}
	run_free(&r);
	if (result == EXIT_SAVED)
		return stop_now();
	return result < 0 ? e->code : EXIT_DONE;
}
