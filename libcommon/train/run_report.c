#include <errno.h>
#include "run_internal.h"

#define SMOOTHING 0.98

/* A reader of the metrics that goes away costs a warning, not the run; a full disk costs the exit code, but not the adapter. */
static void emit(struct run *r)
{
	struct error e;

	errno = 0;
	if (json_line(&r->line, r->json, &e) == 0)
		return;
	if (errno != EPIPE && errno != EBADF)
		r->lost = e;
	warning("standard output: %s; no more metrics are written, training goes on", e.text);
	r->json = -1;
}

void report_start(struct run *r)
{
	struct json_out *j = &r->line;
	size_t i, pictures = 0, regularization = 0;

	for (i = 0; i < r->data.count; i++)
		*(r->data.sample[i].regularization ? &regularization : &pictures) += 1;
	json_begin(j, NULL);
	json_text(j, "event", "start");
	json_int(j, "step", r->done);
	json_int(j, "steps", r->total);
	json_int(j, "pictures", pictures);
	json_int(j, "regularization_pictures", regularization);
	json_int(j, "batches_per_epoch", order_batches(r->order));
	json_int(j, "modules", r->adapter->count);
	json_big(j, "seed", r->seed);
	json_int(j, "activation_bytes", r->activation_bytes);
	json_text(j, "device", r->be->name);
	json_end(j);
	emit(r);
	note("%zu pictures, %zu regularisation pictures, %zu batches an epoch; %zu modules of rank %ld; steps %ld to %ld",
	     pictures, regularization, order_batches(r->order), r->adapter->count, r->s->rank, r->done + 1, r->total);
	if (!r->s->dry_run)
		r->progress = progress_begin("training", "steps", r->total);
}

void report_step(struct run *r, const struct step_facts *f)
{
	struct json_out *j = &r->line;
	char words[64];

	json_begin(j, NULL);
	json_text(j, "event", "step");
	json_int(j, "step", r->done);
	json_int(j, "epoch", f->epoch + 1);
	json_number(j, "loss", f->loss);
	json_number(j, "lr", f->lr * r->s->learning_rate);
	json_number(j, "grad_norm", f->grad_norm);
	json_number(j, "samples_per_s", f->samples / f->seconds);
	json_number(j, "seconds", f->seconds);
	if (!f->finite)
		json_bool(j, "nonfinite", true);
	json_end(j);
	emit(r);
	if (f->finite)
		r->smooth = r->smooth ? SMOOTHING * r->smooth + (1 - SMOOTHING) * f->loss : f->loss;
	snprintf(words, sizeof(words), "loss %.4f", r->smooth);
	progress_at(r->progress, r->done, words);
}

void report_save(struct run *r, const char *event, const char *path)
{
	struct json_out *j = &r->line;

	json_begin(j, NULL);
	json_text(j, "event", event);
	json_int(j, "step", r->done);
	json_text(j, "path", path);
	json_end(j);
	emit(r);
}

void report_end(struct run *r, const char *why)
{
	struct json_out *j = &r->line;

	json_begin(j, NULL);
	json_text(j, "event", "end");
	json_int(j, "step", r->done);
	json_text(j, "why", why);
	json_end(j);
	emit(r);
}

int report_lr(const struct run *r, struct error *e)
{
	struct json_out j = { 0 };
	long k;
	int result = 0;

	for (k = 0; k < r->total && !result; k++) {
		json_begin(&j, NULL);
		json_text(&j, "event", "lr");
		json_int(&j, "step", k + 1);
		json_number(&j, "lr", lr_multiplier(&r->lr, k) * r->s->learning_rate);
		json_end(&j);
		result = json_line(&j, r->json, e);
	}
	json_free(&j);
	return result < 0 ? fail_at(e, "standard output") : 0;
}
