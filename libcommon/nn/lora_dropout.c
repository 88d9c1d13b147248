#include "internal.h"

/* The batch is part of the item, as there is no other place for it in the counter. */
static struct random draw(const struct lora *l, enum purpose purpose)
{
	const struct lora_dropout *d = l->dropout;

	return (struct random){ d->seed, purpose, d->step, l->id + d->batch * 0x9e3779b9u };
}

bool lora_is_out(const struct lora *l)
{
	struct random r;

	if (!l->dropout || !l->dropout->on || !l->dropout->module)
		return false;
	r = draw(l, RANDOM_MODULE_DROPOUT);
	return random_uniform(&r, 0) < l->dropout->module;
}

void lora_leave_out(struct tape *t, const struct lora *l, float *z, int n, int rows)
{
	const struct lora_dropout *d = l->dropout;
	struct random r;

	if (!d || !d->on)
		return;
	if (d->value) {
		r = draw(l, RANDOM_NETWORK_DROPOUT);
		tape_backend(t)->dropout(tape_device(t), z, &r, d->value, n, rows, l->rank, false);
	}
	if (d->rank) {
		r = draw(l, RANDOM_RANK_DROPOUT);
		tape_backend(t)->dropout(tape_device(t), z, &r, d->rank, n, rows, l->rank, true);
	}
}
