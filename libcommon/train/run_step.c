/* One step of the optimizer: its batches forward and backward, then the gradient is clipped and the weights move. */
#include <math.h>
#include <stdlib.h>
#include "../io/publish.h"
#include "run.h"

/* What became of a sample of the step. */
struct sample_loss { float timestep, loss; };

/* The step's samples, those of a leaf beside each other. */
struct losses { struct sample_loss *of; long stride; };

static void make_batch(struct run *r, const struct batch_place *at, struct batch *b)
{
	const struct order_place place = data_place(&r->data, at->step);
	const struct order_batch samples = data_batch(&r->data, &place, at->micro);
	const struct batch_source from = { r->s, &r->data, &r->net, &r->course.objective };

	batch_make(&from, &r->course, at, &samples, b);
}

static struct leaves mine(const struct run *r, const struct order_place *place)
{
	return leaves_of_rank(place->batches, r->share.ranks.count, r->share.ranks.rank);
}

/* Where this rank's batch after this one is.  False: the run ends, or the next step has none for this rank. */
static bool next_place(const struct run *r, const struct batch_place *at, struct batch_place *next)
{
	struct order_place place = data_place(&r->data, at->step);
	struct leaves l = mine(r, &place);

	*next = (struct batch_place){ at->step, at->micro + 1 };
	if ((uint32_t)next->micro < l.end)
		return true;
	place = data_place(&r->data, ++next->step);
	l = mine(r, &place);
	next->micro = l.first;
	return next->step < r->course.total && l.first < l.end;
}

/* The batch of this place: the one that was made ahead, or made now. */
static const struct batch *take_batch(struct run *r, const struct batch_place *at, struct batches *b)
{
	struct batch *of = &b->of[b->turn];

	if (!b->made)
		make_batch(r, at, of);
	b->turn = !b->turn;
	b->made = false;
	return of;
}

static void make_ahead(struct run *r, const struct batch_place *at, struct batches *b)
{
	struct batch_place next;

	b->made = next_place(r, at, &next);
	if (b->made)
		make_batch(r, &next, &b->of[b->turn]);
}

/* Seconds since *at, which becomes now. */
static double lap(double *at)
{
	const double began = *at;

	*at = seconds_now();
	return *at - began;
}

static void run_leaf(struct run *r, const struct order_place *place, int leaf, struct batches *batches,
		     struct losses *losses, struct step_facts *f)
{
	const struct batch_place here = { r->course.done, leaf };
	double at = seconds_now();
	const struct batch *b = take_batch(r, &here, batches);
	float *loss = xmalloc(b->n * sizeof(*loss));
	struct tensor *l;

	f->data += lap(&at);
	adapter_training(r->net.adapter, here.step, leaf, b->timestep, b->n);
	/* a short last group is divided by the full number too */
	l = step_run(r->net.tape, &r->net.step, b, 1.0f / leaves_a_step(r->s));
	adapter_training_ends(r->net.adapter);
	f->compute += lap(&at);
	make_ahead(r, &here, batches);
	f->data += lap(&at);
	tensor_download(r->net.tape, l, loss);
	leaf_sums_add(&r->course.sums, r->net.tape, leaf, place->batches);
	f->compute += lap(&at);
	for (int i = 0; i < b->n; i++)
		losses->of[leaf * losses->stride + i] = (struct sample_loss){ b->timestep[i], loss[i] };
	free(loss);
}

/* Adds the samples of a leaf, n of them; returns the leaf's own loss. */
static double add_leaf(int timesteps, const struct sample_loss *s, int n, int batches, struct step_facts *f)
{
	double mean = 0;

	for (int i = 0; i < n; i++) {
		int bin = s[i].timestep * LOSS_BINS / timesteps;
		mean += s[i].loss / n;
		bin = bin < 0 ? 0 : bin < LOSS_BINS ? bin : LOSS_BINS - 1;
		f->bin_loss[bin] += s[i].loss;
		f->bin_samples[bin]++;
	}
	f->loss += mean / batches;
	f->samples += n;
	return mean;
}

static void all_leaves(struct run *r, const struct order_place *place, struct batches *b, struct step_facts *f)
{
	const struct leaves l = mine(r, place);
	struct losses losses = { .stride = r->s->batch_size };

	losses.of = xcalloc((size_t)place->batches * losses.stride, sizeof(*losses.of));
	leaf_sums_begin(&r->course.sums);
	for (uint32_t leaf = l.first; leaf < l.end; leaf++)
		run_leaf(r, place, leaf, b, &losses, f);
	share_leaves(&r->share, losses.of, losses.stride * sizeof(*losses.of), place->batches);
	share_gradients(&r->share, &r->course.sums, r->net.tape, place->batches);
	for (int leaf = 0; leaf < place->batches; leaf++) {
		const double loss = add_leaf(r->course.objective.schedule.steps, &losses.of[leaf * losses.stride],
					     data_batch(&r->data, place, leaf).n, place->batches, f);
		if (run_leads(r))
			loss_mean_add(&r->witness.log.mean, loss);
	}
	free(losses.of);
}

void run_step(struct run *r, struct batches *b, struct step_facts *f)
{
	struct order_place place = data_place(&r->data, r->course.done);
	double began = seconds_now(), ready;

	*f = (struct step_facts){ .step = r->course.done + 1, .per_epoch = data_updates_per_epoch(&r->data),
				  .epoch = place.epoch, .lr = lr_multiplier(&r->course.lr, r->course.done) };
	all_leaves(r, &place, b, f);
	ready = seconds_now();
	f->grad_norm = optimizer_grad_norm(&r->course.optimizer);
	f->finite = isfinite(f->loss) && isfinite(f->grad_norm);
	if (f->finite) {
		optimizer_step(&r->course.optimizer, f->lr, clip_scale(f->grad_norm, r->s->max_grad_norm));
		optimizer_gather_weights(&r->course.optimizer);
		if (r->s->scale_weight_norms)
			f->norms = adapter_limit_norms(r->net.adapter, r->s->scale_weight_norms);
		ema_update(&r->course.ema, r->course.done + 1);
	} else {
		optimizer_forget(&r->course.optimizer);
		if (run_leads(r))
			keeper_keep_nonfinite(&r->keeper, &place);
	}
	f->optimizer = seconds_now() - ready;
	f->seconds = seconds_now() - began;
	f->waited = r->share.waited;
	f->ranks = r->share.ranks.count;
}
