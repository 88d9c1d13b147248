/* The facts of the start event, from data, networks and course; a step's, and what the device did in it. */
#include "witness.h"

void witness_tell_start(struct witness *w, const char *config, const char *resumed, const char *engine,
			const char *not_joined)
{
	const struct course *c = w->course;
	const struct run_networks *n = w->net;
	struct start_facts f = {
		.config = config, .resumed = resumed, .step = c->done, .steps = c->total, .rank = w->s->rank,
		.held_out = w->data->held_out, .batches_per_epoch = order_batches(w->data->order),
		.modules = n->adapter->count, .activation_bytes = n->activation_bytes,
		.planned_bytes = n->planned_bytes, .blocks = n->blocks,
		.checkpointed = n->way.checkpoints < n->blocks ? n->way.checkpoints : n->blocks,
		.cheap_again = n->way.cheap_again, .seed = c->seed, .device = n->be->name,
		.trains = !w->s->dry_run, .engine = engine, .not_joined = not_joined,
		.base_precision = w->s->base_precision, .quantising = &n->quantising,
	};

	for (size_t i = 0; i < w->data->set.count; i++)
		*(w->data->set.sample[i].regularization ? &f.regularization : &f.pictures) += 1;
	report_start(&w->log, w->tool, &f);
}

void witness_step_begins(struct witness *w)
{
	if (!w->watch.be)
		watch_begin(&w->watch, w->net->be, w->net->device);
	watch_step(&w->watch);
}

void witness_tell_step(struct witness *w, struct step_facts *f)
{
	struct device_use use;

	f->use = watch_read(&w->watch, &use) ? &use : NULL;
	f->planned_bytes = w->net->planned_bytes;
	report_step(&w->log, w->s, &w->course->optimizer, f);
	f->use = NULL;
}

void witness_free(struct witness *w)
{
	watch_end(&w->watch);
	samples_free(w->samples);
	run_log_free(&w->log);
}
