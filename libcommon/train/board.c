/* Scalars for TensorBoard alone: tags that sd-scripts writes, with its meaning, so that its users' dashboards work. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "witness.h"

/* sd-scripts' groups of parameters, with its names: UNet and text encoders, or the UNet's blocks; and LoRA+'s half of
 * each. */
enum { GROUPS = 2 * (UNET_BLOCKS + 1), GROUP_NAME = 24 };

static void name_group(const struct witness *w, const struct parameter *p, char name[GROUP_NAME])
{
	const struct train_settings *s = w->s;
	const bool unet = !strncmp(p->name, "lora_unet_", 10),
		   blocks = unet && (s->blocks.down || s->blocks.mid || s->blocks.up);
	const double ratio = unet ? s->plus_unet_ratio : s->plus_text_ratio;
	const char *plus = (ratio || s->plus_ratio) && p->hastened ? " plus" : "";

	if (blocks)
		snprintf(name, GROUP_NAME, "unet_block%d%s", unet_block(p->name), plus);
	else
		snprintf(name, GROUP_NAME, "%s%s", unet ? "unet" : "textencoder", plus);
}

static void add_rates(struct witness *w, double multiplier)
{
	char seen[GROUPS][GROUP_NAME], name[GROUP_NAME], tag[GROUP_NAME + 8];
	const double d = optimizer_d(&w->course->optimizer);
	int groups = 0, k;

	for (size_t i = 0; i < w->course->optimizer.count && groups < GROUPS; i++) {
		const struct parameter *p = &w->course->optimizer.parameter[i];
		const double rate = optimizer_lr(&w->course->optimizer.settings, p->lr, multiplier, w->course->done);

		name_group(w, p, name);
		for (k = 0; k < groups && strcmp(seen[k], name); k++)
			;
		if (k < groups)
			continue;
		strcpy(seen[groups++], name);
		snprintf(tag, sizeof(tag), "lr/%s", name);
		events_scalar(&w->events, tag, rate);
		snprintf(tag, sizeof(tag), "lr/d*lr/%s", name);
		events_scalar(&w->events, tag, d > 0 ? d * rate : NAN);
	}
}

void board_step(struct witness *w, const struct step_facts *f)
{
	struct events *ev = &w->events;

	events_scalar(ev, "loss/average", loss_mean(&w->mean));
	add_rates(w, f->lr);
	if (!w->s->scale_weight_norms || !f->finite)
		return;
	events_scalar(ev, "max_norm/keys_scaled", f->norms.scaled);
	events_scalar(ev, "max_norm/average_key_norm", f->norms.mean);
	events_scalar(ev, "max_norm/max_key_norm", f->norms.greatest);
	events_scalar(ev, "norm/avg_key_norm", f->norms.mean);          /* the newer name of the mean */
}

/* sd-scripts counts these by epochs. */
void board_epoch(struct witness *w)
{
	long per_epoch = data_updates_per_epoch(w->data);

	if (w->course->done % per_epoch)
		return;
	events_scalar(&w->events, "loss/epoch_average", loss_mean(&w->mean));
	events_tell_scalars(&w->events, w->course->done / per_epoch);
}

void board_validation(struct witness *w, double loss, bool of_step, bool of_epoch)
{
	struct events *ev = &w->events;
	double divergence = loss - loss_mean(&w->mean);
	long per_epoch = data_updates_per_epoch(w->data);

	if (of_step) {
		events_scalar(ev, "loss/validation/step_average", loss);
		events_scalar(ev, "loss/validation/step_divergence", divergence);
	}
	events_tell(ev);
	if (of_epoch) {
		events_scalar(ev, "loss/validation/epoch_average", loss);
		events_scalar(ev, "loss/validation/epoch_divergence", divergence);
		events_tell_scalars(ev, (w->course->done + per_epoch - 1) / per_epoch);
	}
}
