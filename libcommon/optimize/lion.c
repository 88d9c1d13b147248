/* Lion (Chen et al. 2023), whose step is the sign of an interpolated moment. */
#include "internal.h"

static void set_slots(const struct optimizer *o, struct parameter *p)
{
	p->slot[0] = slot_of_floats(p->count);
}

static void move(const struct optimizer *o, struct parameter *p, double lr, float grad_scale)
{
	struct adamw_step step = adamw_step(o, p, lr, grad_scale);

	o->be->lion(o->device, p->tensor->data, p->slot[0].data, p->tensor->grad, p->count, &step);
}

static const struct optimizer_argument arguments[] = {
	BETAS(0), NUMBER("weight_decay", decay, 0, 100), { 0 },
};

const struct optimizer_kind optimizer_lion = {
	.name = "Lion", .python = "lion_pytorch.lion_pytorch.Lion", .arguments = arguments,
	.defaults = { .beta1 = 0.9, .beta2 = 0.99 },
	.set_slots = set_slots, .move = move,
};
