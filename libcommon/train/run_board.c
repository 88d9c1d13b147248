/* What TensorBoard shows beside a run's lines: tags that sd-scripts writes, with its meaning, so that its dashboards go on. */
#include <math.h>
#include "run_internal.h"

static void add_rate(struct run *r, const char *tag, bool unet, double multiplier)
{
	events_scalar(&r->events, tag, optimizer_d(&r->optimizer) * report_rate(r, unet, multiplier));
}

void board_step(struct run *r, const struct step_facts *f)
{
	struct events *ev = &r->events;

	events_scalar(ev, "loss/average", loss_mean(&r->mean));
	if (optimizer_d(&r->optimizer) > 0) {
		add_rate(r, "lr/d*lr/unet", true, f->lr);
		add_rate(r, "lr/d*lr/textencoder", false, f->lr);
	}
	if (!r->s->scale_weight_norms || !f->finite)
		return;
	events_scalar(ev, "max_norm/keys_scaled", f->norms.scaled);
	events_scalar(ev, "max_norm/average_key_norm", f->norms.mean);
	events_scalar(ev, "max_norm/max_key_norm", f->norms.greatest);
	events_scalar(ev, "norm/avg_key_norm", f->norms.mean);          /* the newer name of the mean */
}

/* sd-scripts counts these by epochs. */
void board_epoch(struct run *r)
{
	long per_epoch = order_updates_per_epoch(r->order, r->s->accumulate);

	if (r->done % per_epoch)
		return;
	events_scalar(&r->events, "loss/epoch_average", loss_mean(&r->mean));
	events_tell_scalars(&r->events, r->done / per_epoch);
}

void board_validation(struct run *r, double loss, bool of_step, bool of_epoch)
{
	struct events *ev = &r->events;
	double divergence = loss - loss_mean(&r->mean);
	long per_epoch = order_updates_per_epoch(r->order, r->s->accumulate);

	if (of_step) {
		events_scalar(ev, "loss/validation/step_average", loss);
		events_scalar(ev, "loss/validation/step_divergence", divergence);
	}
	events_tell(ev);
	if (of_epoch) {
		events_scalar(ev, "loss/validation/epoch_average", loss);
		events_scalar(ev, "loss/validation/epoch_divergence", divergence);
		events_tell_scalars(ev, (r->done + per_epoch - 1) / per_epoch);
	}
}
