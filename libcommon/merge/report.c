/* lora-merge: the report, a line for each layer and one for all. */
#include <math.h>
#include "internal.h"

/* 0 / 0: an adapter that was never trained. */
static double share(double error, double update)
{
	return update > 0 ? error / update : 0;
}

static int report_line(struct merge *m, struct json_out *j, struct error *e)
{
	int status;

	json_end(j);
	buffer_adds(&j->text, "\n");
	status = publish_write(m->report, j->text.data, j->text.len, e);
	json_free(j);
	return status;
}

int merge_report(struct merge *m, const struct layer_result *r, struct error *e)
{
	const struct merge_job *job = r->job;
	struct json_out j = { 0 };

	m->layers_done++;
	if (!m->report)
		return 0;
	json_begin(&j, NULL);
	json_text(&j, "event", "module");
	json_text(&j, "module", job->module->name);
	json_text(&j, "tensor", job->place.tensor->name);
	json_int(&j, "rank", job->module->form.rank);
	json_number(&j, "alpha", job->module->alpha);
	json_int(&j, "adapters", r->adapters);
	json_number(&j, "update_norm", r->update);
	json_number(&j, "relative_error", share(r->error, r->update));
	return report_line(m, &j, e);
}

int merge_report_total(struct merge *m, struct error *e)
{
	double error = share(sqrt(m->error_squares), sqrt(m->update_squares));
	struct json_out j = { 0 };

	note("%s: %zu layers changed, norm of the update %.4g, relative error of rounding %.3g", m->options->out,
	     m->layers_done, sqrt(m->update_squares), error);
	if (!m->report)
		return 0;
	json_begin(&j, NULL);
	json_text(&j, "event", "total");
	json_int(&j, "modules", m->layers_done);
	json_number(&j, "update_norm", sqrt(m->update_squares));
	json_number(&j, "relative_error", error);
	return report_line(m, &j, e);
}
