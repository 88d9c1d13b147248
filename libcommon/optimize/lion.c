/* Lion (Chen et al. 2023), whose step is the sign of an interpolated moment. */
#include <stdlib.h>
#include "internal.h"

static void set_slots(const struct optimizer *o, struct parameter *p)
{
	p->slot[0] = slot_of_floats(p->count);
}

static void move(const struct optimizer *o, double multiplier, float grad_scale)
{
	struct adamw_step *steps = adamw_steps(o, multiplier, grad_scale);

	o->be->lion(o->device, o->sums, o->table, steps, o->moving);
	free(steps);
}

static const struct optimizer_argument arguments[] = {
	BETAS(0), NUMBER("weight_decay", decay, 0, 100), { 0 },
};

const struct optimizer_kind optimizer_lion = {
	.name = "Lion", .python = "lion_pytorch.lion_pytorch.Lion", .arguments = arguments,
	.defaults = { .beta1 = 0.9, .beta2 = 0.99 },
	.set_slots = set_slots, .move = move,
};
