#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/philox.h"
#include "internal.h"

#define TIMESTEPS 4             /* a picture: the middles of as many equal parts */

/* ---- which pictures ---- */

static int seed_of(const struct run *r, uint64_t *seed, struct error *e)
{
	const char *text = r->s->validation_seed;
	char *end;

	*seed = r->course.seed;
	if (!text)
		return 0;
	errno = 0;
	*seed = strtoull(text, &end, 10);
	if (end == text || *end || errno || strchr(text, '-'))
		return fail(e, EXIT_USAGE, "validation_seed '%s' is no whole number from 0 to 2^64-1", text);
	return 0;
}

/* Marks share of the pictures that are not for regularisation; returns how many. */
static size_t choose(const struct run *r, uint64_t seed, bool *held)
{
	uint32_t *candidate = xmalloc((r->data.set.count + 1) * sizeof(*candidate)), *order;
	size_t i, n = 0, want;

	for (i = 0; i < r->data.set.count; i++)
		if (!r->data.set.sample[i].regularization)
			candidate[n++] = i;
	want = n < 2 ? 0 : lround(r->s->validation_split * n);
	want = want < 1 && n > 1 ? 1 : want > n - 1 && n ? n - 1 : want;
	order = xmalloc((n + 1) * sizeof(*order));
	random_permutation(&(struct random){ seed, RANDOM_VALIDATION, 0, 0 }, order, n);
	for (i = 0; i < want; i++)
		held[candidate[order[i]]] = true;
	free(candidate);
	free(order);
	return want;
}

/* The pictures that are held out go behind the others, both in the order they had. */
int run_hold_out(struct run *r, struct error *e)
{
	size_t i, kept = 0, n = r->data.set.count;
	struct latent_sample *sorted;
	uint64_t seed;
	bool *held;

	if (!r->s->validation_split || r->s->replay_step)
		return 0;
	if (seed_of(r, &seed, e) < 0)
		return -1;
	held = xcalloc(n, sizeof(*held));
	r->data.held_out = choose(r, seed, held);
	if (!r->data.held_out) {
		free(held);
		return fail(e, EXIT_USAGE, "validation_split: one picture cannot be divided; give more, or remove it");
	}
	sorted = xmalloc(n * sizeof(*sorted));
	for (i = 0; i < n; i++)
		if (!held[i])
			sorted[kept++] = r->data.set.sample[i];
	r->data.set.count = kept;
	for (i = 0; i < n; i++)
		if (held[i])
			sorted[kept++] = r->data.set.sample[i];
	free(held);
	free(r->data.set.sample);
	r->data.set.sample = sorted;
	return 0;
}

/* ---- their loss ---- */

/* The same noise and timestep whenever it is asked for. */
static void put_noise(struct run *r, struct batch *b, uint32_t sample, int part)
{
	const struct noise_schedule *s = &r->course.objective.schedule;
	size_t i, n = (size_t)b->c * b->h * b->w;
	float *noise = xmalloc(n * sizeof(*noise)), *x = xmalloc(n * sizeof(*x));
	int t = (2 * part + 1) * s->steps / (2 * TIMESTEPS);

	random_normal(&(struct random){ r->course.seed, RANDOM_VALIDATION, 1 + part, sample }, noise, n);
	for (i = 0; i < n; i++)
		x[i] = r->data.set.sample[sample].mean[i] * r->course.objective.scaling_factor;
	noise_add(s, t, b->noisy, x, noise, n);
	noise_target(s, t, b->target, x, noise, n);
	b->timestep[0] = t;
	b->weight[0] = 1;
	free(noise);
	free(x);
}

struct look { const struct run *r; const struct batch *b; };

static struct tensor *forward(struct tape *t, void *arg)
{
	const struct look *l = arg;

	return step_forward(t, &l->r->net.step, l->b, NULL);
}

static int loss_of(struct run *r, struct workspace *w, struct batch *b, double *loss, struct error *e)
{
	struct look l = { r, b };
	struct tensor *y = workspace_run(w, forward, &l, e);
	float x;

	if (!y)
		return -1;
	tensor_download(w->tape, y, &x);
	*loss = x;
	return 0;
}

static int look_at_all(struct run *r, struct workspace *w, struct batch *b, size_t n, double sum[TIMESTEPS], struct error *e)
{
	size_t i;
	int part;

	for (i = 0; i < n; i++) {
		run_batch_still(r, r->data.set.count + i, b);
		for (part = 0; part < TIMESTEPS; part++) {
			double loss;
			put_noise(r, b, r->data.set.count + i, part);
			if (loss_of(r, w, b, &loss, e) < 0)
				return -1;
			sum[part] += loss / n;
		}
	}
	return 0;
}

struct due { bool step, epoch; };

/* The end is looked at too, whichever was asked for. */
static struct due due(const struct run *r)
{
	long per_epoch = order_updates_per_epoch(r->data.order, r->s->accumulate), every = r->s->validate_every_steps;
	long epochs = r->s->validate_every_epochs ? r->s->validate_every_epochs : every ? 0 : 1;

	if (!r->data.held_out)
		return (struct due){ 0 };
	return (struct due){ every && (r->course.done % every == 0 || r->course.done == r->course.total),
			     epochs && (r->course.done % (epochs * per_epoch) == 0 || r->course.done == r->course.total) };
}

void run_validate(struct run *r)
{
	size_t most = r->s->max_validation_steps, n = most && most < r->data.held_out ? most : r->data.held_out;
	struct workspace work = { .be = r->net.be, .device = r->net.device };
	double sum[TIMESTEPS] = { 0 };
	const struct due when = due(r);
	struct batch b = { 0 };
	struct error e;

	if (!when.step && !when.epoch)
		return;
	run_give_arena(r);
	if (run_show_average(r, &e) < 0 || look_at_all(r, &work, &b, n, sum, &e) < 0)
		warning("validation: %s; training goes on", e.text);
	else
		report_validation(r, sum, TIMESTEPS, n, when.step, when.epoch);
	run_end_average(r);
	workspace_free(&work);
	run_batch_free(&b);
}

size_t run_validation_need(struct run *r)
{
	struct batch b = { 0 };
	struct look l = { r, &b };
	size_t i, most = 0;

	for (i = 0; i < r->data.held_out; i++) {
		const struct latent_sample *s = &r->data.set.sample[r->data.set.count + i];
		size_t need;
		run_batch_blank(r, &(struct batch_shape){ 1, s->h, s->w, r->data.set.count + i }, &b);
		need = workspace_need(forward, &l);
		most = need > most ? need : most;
	}
	run_batch_free(&b);
	return most;
}
