/* AdamW, as torch.optim has it. */
#include <stdlib.h>
#include "internal.h"

static void set_slots(const struct optimizer *o, struct parameter *p)
{
	p->slot[0] = p->slot[1] = slot_of_floats(p->count);
}

static void move(const struct optimizer *o, double multiplier, float grad_scale)
{
	struct adamw_step *steps = adamw_steps(o, multiplier, grad_scale);

	o->be->adamw(o->device, o->sums, o->table, steps, o->moving);
	free(steps);
}

static const struct optimizer_argument arguments[] = {
	BETAS(0), NUMBER("eps", eps, 1e-30, 1), NUMBER("weight_decay", decay, 0, 100), { 0 },
};

const struct optimizer_kind optimizer_adamw = {
	.name = "AdamW", .python = "torch.optim.adamw.AdamW", .arguments = arguments,
	.defaults = { .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .decay = 0.01 },
	.set_slots = set_slots, .move = move,
};
