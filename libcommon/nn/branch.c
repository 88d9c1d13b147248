/* Dropout and masks of ranks in branches. */
#include <math.h>
#include "../base/elementary.h"
#include "internal.h"

/* The batch is part of the item, as there is no other place for it in the counter. */
static struct random draw(const struct branch *b, enum purpose purpose)
{
	const struct branch_dropout *d = b->dropout;

	return (struct random){ d->seed, purpose, d->step, b->id + d->batch * 0x9e3779b9u };
}

bool branch_is_out(const struct branch *b)
{
	struct random r;

	if (!b->dropout || !b->dropout->on || !b->dropout->module)
		return false;
	r = draw(b, RANDOM_MODULE_DROPOUT);
	return random_uniform(&r, 0) < b->dropout->module;
}

int rank_at(const struct rank_mask *m, int rank, double timestep)
{
	const double share = plain_pow((m->timesteps - timestep) / m->timesteps, m->exponent);
	const int k = (int)floor(share * (rank - m->least)) + m->least;

	return k < rank ? k : rank;
}

/* A text encoder has several rows of chunks for one sample. */
static void mask_ranks(struct tape *t, const struct branch *b, float *z, int n, int rows)
{
	const struct rank_mask *m = &b->dropout->mask;
	const size_t each = (size_t)rows * b->rank;

	if (!m->timestep || n % m->samples)
		return;
	for (int i = 0; i < n; i++) {
		const int k = rank_at(m, b->rank, m->timestep[i / (n / m->samples)]);

		tape_backend(t)->multiply(tape_device(t), f32(z + i * each), f32(z + i * each),
					  f32(m->first + (size_t)k * m->most), rows, b->rank, true);
	}
}

bool branch_leaves_out(const struct branch *b)
{
	const struct branch_dropout *d = b->dropout;

	return d && d->on && (d->mask.timestep || d->value || d->rank);
}

bool branch_may_leave_out(const struct branch *b)
{
	const struct branch_dropout *d = b->dropout;

	return d && (d->mask.least || d->value || d->rank || d->module);
}

void branch_leave_out(struct tape *t, const struct branch *b, float *z, int n, int rows)
{
	const struct branch_dropout *d = b->dropout;
	struct random r;

	if (!branch_leaves_out(b))
		return;
	mask_ranks(t, b, z, n, rows);
	if (d->value) {
		r = draw(b, RANDOM_NETWORK_DROPOUT);
		tape_backend(t)->dropout(tape_device(t), z, &r, d->value, n, rows, b->rank, false);
	}
	if (d->rank) {
		r = draw(b, RANDOM_RANK_DROPOUT);
		tape_backend(t)->dropout(tape_device(t), z, &r, d->rank, n, rows, b->rank, true);
	}
}

void branch_leave_out_rows(struct tape *t, const struct branch *b, float *dw, const struct weight *w)
{
	const struct branch_dropout *d = b->dropout;
	struct random r;

	if (!d || !d->on || !d->rank)
		return;
	r = draw(b, RANDOM_RANK_DROPOUT);
	tape_backend(t)->dropout(tape_device(t), dw, &r, d->rank, w->out, w->kh * w->kw * w->in, 1, true);
}

void branch_leave_out_channels(struct tape *t, const struct branch *b, float *y, int rows, int out)
{
	const struct branch_dropout *d = b->dropout;
	struct random r;

	if (!d || !d->on || !d->rank)
		return;
	r = draw(b, RANDOM_RANK_DROPOUT);
	tape_backend(t)->dropout(tape_device(t), y, &r, d->rank, 1, rows, out, true);
}
