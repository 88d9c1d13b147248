/* Validation: the loss of the held-out pictures. */
#include <math.h>
#include <stdlib.h>
#include "../base/philox.h"
#include "../nn/workspace.h"
#include "witness.h"

#define TIMESTEPS 4             /* for each picture: the middles of as many equal intervals */

/* Sets the noise and timestep of a picture, which are the same in every validation. */
static void put_noise(const struct batch_source *from, uint64_t seed, struct batch *b, uint32_t sample, int part)
{
	struct objective_sample s = { .noisy = b->noisy, .target = b->target };
	size_t i, n = (size_t)b->c * b->h * b->w;
	float *noise = xmalloc(n * sizeof(*noise)), *x = xmalloc(n * sizeof(*x));

	random_normal(&(struct random){ seed, RANDOM_VALIDATION, 1 + part, sample }, noise, n);
	for (i = 0; i < n; i++)
		x[i] = from->data->set.sample[sample].mean[i] * from->objective->scaling_factor;
	objective_still(from->objective, (2 * part + 1) / (2.0 * TIMESTEPS), x, noise, n, &s);
	b->timestep[0] = s.timestep;
	b->weight[0] = 1;
	free(noise);
	free(x);
}

struct look { const struct networks *net; const struct batch *b; };

static struct tensor *forward(struct tape *t, void *arg)
{
	const struct look *l = arg;

	return step_forward(t, l->net, l->b, NULL);
}

static int loss_of(const struct networks *net, struct workspace *work, struct batch *b, double *loss, struct error *e)
{
	struct look l = { net, b };
	struct tensor *y = workspace_run(work, forward, &l, e);
	float x;

	if (!y)
		return -1;
	tensor_download(work->tape, y, &x);
	*loss = x;
	return 0;
}

static int losses_of(const struct batch_source *from, uint64_t seed, struct workspace *work, size_t n,
		     double sum[TIMESTEPS], struct error *e)
{
	struct batch b = { 0 };
	int part, result = 0;
	size_t i;

	for (i = 0; i < n && !result; i++) {
		const uint32_t sample = from->data->set.count + i;
		batch_make_still(from, sample, &b);
		for (part = 0; part < TIMESTEPS && !result; part++) {
			double loss = 0;
			put_noise(from, seed, &b, sample, part);
			result = loss_of(&from->net->step, work, &b, &loss, e);
			sum[part] += loss / n;
		}
	}
	batch_free(&b);
	return result;
}

struct due { bool step, epoch; };

/* Is a validation due, by steps or by epochs?  The end of the run counts as both. */
static struct due due(const struct witness *w)
{
	const long per_epoch = data_updates_per_epoch(w->data);
	const long every = w->s->validate_every_steps, done = w->course->done;
	const long epochs = w->s->validate_every_epochs ? w->s->validate_every_epochs : every ? 0 : 1;
	const bool last = done == w->course->total;

	if (!w->data->held_out)
		return (struct due){ 0 };
	return (struct due){ every && (done % every == 0 || last),
			     epochs && (done % (epochs * per_epoch) == 0 || last) };
}

void witness_validate(struct witness *w)
{
	const size_t most = w->s->max_validation_steps, n = most && most < w->data->held_out ? most : w->data->held_out;
	const struct batch_source from = { w->s, w->data, w->net, &w->course->objective };
	struct workspace work = { .be = w->net->be, .device = w->net->device };
	double sum[TIMESTEPS] = { 0 };
	const struct due when = due(w);
	struct error e;

	if (!when.step && !when.epoch)
		return;
	networks_give_arena(w->net);
	if (course_show_average(w->course, &e) < 0 || losses_of(&from, w->course->seed, &work, n, sum, &e) < 0)
		warning("validation: %s; training goes on", e.text);
	else
		report_validation(&w->log, &(struct validation_facts){ w->course->done, data_updates_per_epoch(w->data),
								       sum, TIMESTEPS, n, when.step, when.epoch });
	course_end_average(w->course);
	workspace_free(&work);
}

size_t validation_need(const struct batch_source *from)
{
	struct batch b = { 0 };
	struct look l = { &from->net->step, &b };
	size_t i, most = 0;

	for (i = 0; i < from->data->held_out; i++) {
		const uint32_t sample = from->data->set.count + i;
		const struct latent_sample *s = &from->data->set.sample[sample];
		size_t need;
		batch_make_blank(from, &(struct batch_shape){ 1, s->h, s->w, sample }, &b);
		need = workspace_need(forward, &l);
		most = need > most ? need : most;
	}
	batch_free(&b);
	return most;
}
