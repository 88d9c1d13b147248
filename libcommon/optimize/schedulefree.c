/* Schedule-free AdamW (Defazio et al. 2024). */
#include <math.h>
#include <stdlib.h>
#include "../base/elementary.h"
#include "../base/memory.h"
#include "internal.h"

/* z takes the steps; x, the average of z, is what is saved; the weights in training are y = beta1 x + (1 - beta1) z. */
enum { V, Z };                                  /* of the slots */
enum { STEPS, WEIGHT_SUM, HIGHEST };            /* of the scalars; the highest warm-up factor so far */
enum { SHARE, WARM };                           /* of now[]: z's share in the average; the warm-up's factor */

static void set_slots(const struct optimizer *o, struct parameter *p)
{
	p->slot[V] = p->slot[Z] = slot_of_floats(p->count);
}

static double warm(const struct optimizer_settings *s, double step)
{
	return step <= s->warmup_steps ? step / s->warmup_steps : 1;
}

static double shown_lr(const struct optimizer_settings *s, double lr, double multiplier, long step)
{
	return lr * warm(s, step);
}

/* The base learning rate cancels out in the shares, so they are computed from the warm-up factors alone. */
static bool begin(struct optimizer *o, double multiplier, float grad_scale)
{
	const struct optimizer_settings *s = &o->settings;
	const double k = o->scalar[STEPS] + 1;
	double weight;

	o->now[WARM] = warm(s, k);
	o->scalar[HIGHEST] = fmax(o->scalar[HIGHEST], o->now[WARM]);
	weight = plain_pow(k, s->weight_power) * plain_pow(o->scalar[HIGHEST], s->lr_power);
	o->scalar[WEIGHT_SUM] += weight;
	o->scalar[STEPS] = k;
	o->now[SHARE] = weight / o->scalar[WEIGHT_SUM];
	return true;
}

static void move(const struct optimizer *o, double multiplier, float grad_scale)
{
	const struct optimizer_settings *s = &o->settings;
	const double share = o->now[SHARE], root2 = sqrt(1 - plain_pow(s->beta2, o->scalar[STEPS]));
	struct schedulefree_step *steps = xcalloc(o->moving + 1, sizeof(*steps));

	for (int i = 0; i < o->moving; i++) {
		const double rate = o->arrived[i]->lr * o->now[WARM];

		steps[i] = (struct schedulefree_step){
			.grad_scale = grad_scale, .root = root2, .eps = root2 * s->eps, .decay = s->decay,
			.step = rate * (s->beta1 * (1 - share) - 1), .z_step = -rate,
			.v = { 1 - s->beta2, s->beta2 }, .p = { share, 1 - share },
		};
	}
	optimizer_keep_first(o, Z, 1);
	o->be->schedulefree(o->device, o->sums, o->table, steps, o->moving);
	free(steps);
}

static void average(const struct optimizer *o, const struct parameter *p)
{
	const double beta1 = o->settings.beta1;

	o->be->axpby(o->device, f32(p->tensor->data), 1 - 1 / beta1, f32(p->slot[Z].data), 1 / beta1, p->count);
}

static const struct optimizer_argument arguments[] = {
	BETAS(0.01), NUMBER("eps", eps, 1e-30, 1), NUMBER("weight_decay", decay, 0, 100),
	NUMBER("warmup_steps", warmup_steps, 0, 99999999), NUMBER("r", weight_power, 0, 100),
	NUMBER("weight_lr_power", lr_power, 0, 100), { 0 },
};

const struct optimizer_kind optimizer_schedulefree = {
	.name = "AdamWScheduleFree", .python = "schedulefree.adamw_schedulefree.AdamWScheduleFree",
	.arguments = arguments, .defaults = { .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .lr_power = 2 },
	.scalars = 3, .own_schedule = true,
	.set_slots = set_slots, .begin = begin, .move = move, .average = average, .lr = shown_lr,
};
