/* Choosing the pictures that are held out for validation. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/philox.h"
#include "../config/seed.h"
#include "data.h"

/* Marks share of the pictures that are not for regularisation; returns how many. */
static size_t choose(const struct run_data *d, uint64_t seed, bool *held)
{
	uint32_t *candidate = xmalloc((d->set.count + 1) * sizeof(*candidate)), *order;
	size_t i, n = 0, want;

	for (i = 0; i < d->set.count; i++)
		if (!d->set.sample[i].regularization)
			candidate[n++] = i;
	want = n < 2 ? 0 : lround(d->s->validation_split * n);
	want = want < 1 && n > 1 ? 1 : want > n - 1 && n ? n - 1 : want;
	order = xmalloc((n + 1) * sizeof(*order));
	random_permutation(&(struct random){ seed, RANDOM_VALIDATION, 0, 0 }, order, n);
	for (i = 0; i < want; i++)
		held[candidate[order[i]]] = true;
	free(candidate);
	free(order);
	return want;
}

/* Moves the held-out pictures behind the others; both keep their order. */
int data_hold_out(struct run_data *d, uint64_t seed, struct error *e)
{
	size_t i, kept = 0, n = d->set.count;
	struct latent_sample *sorted;
	bool *held;

	if (!d->s->validation_split || d->s->replay_step)
		return 0;
	if (seed_read("validation_seed", d->s->validation_seed, &seed, e) < 0)
		return -1;
	held = xcalloc(n, sizeof(*held));
	d->held_out = choose(d, seed, held);
	if (!d->held_out) {
		free(held);
		return fail(e, EXIT_USAGE, "validation_split: one picture cannot be divided; give more, or remove it");
	}
	sorted = xmalloc(n * sizeof(*sorted));
	for (i = 0; i < n; i++)
		if (!held[i])
			sorted[kept++] = d->set.sample[i];
	d->set.count = kept;
	for (i = 0; i < n; i++)
		if (held[i])
			sorted[kept++] = d->set.sample[i];
	free(held);
	free(d->set.sample);
	d->set.sample = sorted;
	return 0;
}
