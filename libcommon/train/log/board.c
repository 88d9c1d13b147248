/* Scalars for TensorBoard alone: tags that sd-scripts writes, with its meaning, so that its users' dashboards work. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "report.h"

/* sd-scripts' groups of parameters, with its names: UNet and text encoders, or the UNet's blocks; and LoRA+'s half of
 * each. */
enum { GROUPS = 2 * (BLOCKS_MOST + 1), GROUP_NAME = 24 };

static void name_group(const struct train_settings *s, const struct parameter *p, char name[GROUP_NAME])
{
	const bool unet = !strncmp(p->name, "lora_unet_", 10),
		   blocks = unet && (s->blocks.down || s->blocks.mid || s->blocks.up);
	const double ratio = unet ? s->plus_unet_ratio : s->plus_text_ratio;
	const char *plus = (ratio || s->plus_ratio) && p->hastened ? " plus" : "";

	if (blocks)
		snprintf(name, GROUP_NAME, "unet_block%d%s", unet_block(p->name), plus);
	else
		snprintf(name, GROUP_NAME, "%s%s", unet ? "unet" : "textencoder", plus);
}

static void add_rates(struct events *ev, const struct train_settings *s, const struct optimizer *o,
		      const struct step_facts *f)
{
	char seen[GROUPS][GROUP_NAME], name[GROUP_NAME], tag[GROUP_NAME + 8];
	const double d = optimizer_d(o);
	int groups = 0, k;

	for (size_t i = 0; i < o->count && groups < GROUPS; i++) {
		const struct parameter *p = &o->parameter[i];
		const double rate = optimizer_lr(&o->settings, p->lr, f->lr, f->step);

		name_group(s, p, name);
		for (k = 0; k < groups && strcmp(seen[k], name); k++)
			;
		if (k < groups)
			continue;
		strcpy(seen[groups++], name);
		snprintf(tag, sizeof(tag), "lr/%s", name);
		events_scalar(ev, tag, rate);
		snprintf(tag, sizeof(tag), "lr/d*lr/%s", name);
		events_scalar(ev, tag, d > 0 ? d * rate : NAN);
	}
}

void board_step(struct run_log *l, const struct train_settings *s, const struct optimizer *o,
		const struct step_facts *f)
{
	struct events *ev = &l->events;

	events_scalar(ev, "loss/average", loss_mean(&l->mean));
	add_rates(ev, s, o, f);
	if (!s->scale_weight_norms || !f->finite)
		return;
	events_scalar(ev, "max_norm/keys_scaled", f->norms.scaled);
	events_scalar(ev, "max_norm/average_key_norm", f->norms.mean);
	events_scalar(ev, "max_norm/max_key_norm", f->norms.greatest);
	events_scalar(ev, "norm/avg_key_norm", f->norms.mean);          /* the newer name of the mean */
}

/* sd-scripts counts these by epochs. */
void board_epoch(struct run_log *l, const struct step_facts *f)
{
	if (f->step % f->per_epoch)
		return;
	events_scalar(&l->events, "loss/epoch_average", loss_mean(&l->mean));
	events_tell_scalars(&l->events, f->step / f->per_epoch);
}

void board_validation(struct run_log *l, double loss, const struct validation_facts *f)
{
	struct events *ev = &l->events;
	const double divergence = loss - loss_mean(&l->mean);

	if (f->of_step) {
		events_scalar(ev, "loss/validation/step_average", loss);
		events_scalar(ev, "loss/validation/step_divergence", divergence);
	}
	events_tell(ev);
	if (f->of_epoch) {
		events_scalar(ev, "loss/validation/epoch_average", loss);
		events_scalar(ev, "loss/validation/epoch_divergence", divergence);
		events_tell_scalars(ev, (f->step + f->per_epoch - 1) / f->per_epoch);
	}
}
