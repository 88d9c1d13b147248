/* One step of the optimizer: its batches forward and backward, then the gradient is clipped and the weights move. */
#include <math.h>
#include <stdlib.h>
#include "../io/publish.h"
#include "run.h"

/* Returns the batch's own. */
static double add_losses(int timesteps, const struct batch *b, const float *loss, int batches, struct step_facts *f)
{
	double mean = 0;
	int i;

	for (i = 0; i < b->n; i++) {
		int bin = b->timestep[i] * LOSS_BINS / timesteps;
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
	const struct batch_source from = { r->s, &r->data, &r->net, &r->course.objective };
	double began = seconds_now(), ready;
	int micro;

	for (micro = 0; micro < place->batches; micro++) {
		const struct order_batch samples = data_batch(&r->data, place, micro);
		batch_make(&from, &r->course, &samples, micro, b);
		ready = seconds_now();
		f->data += ready - began;
		adapter_training(r->net.adapter, r->course.done, micro, b->timestep, b->n);
		/* a short last group is divided by the full number too */
		step_run(r->net.tape, &r->net.step, b, 1.0f / r->s->accumulate, loss);
		began = seconds_now();
		f->compute += began - ready;
		loss_mean_add(&r->witness.log.mean, add_losses(r->course.objective.schedule.steps, b, loss,
							       place->batches, f));
	}
	adapter_training_ends(r->net.adapter);
	free(loss);
}

void run_step(struct run *r, struct batch *b, struct step_facts *f)
{
	struct order_place place = data_place(&r->data, r->course.done);
	double began = seconds_now(), ready;

	*f = (struct step_facts){ .step = r->course.done + 1, .per_epoch = data_updates_per_epoch(&r->data),
				  .epoch = place.epoch, .lr = lr_multiplier(&r->course.lr, r->course.done) };
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
