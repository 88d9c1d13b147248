/* D-Adaptation for Adam (Defazio and Mishchenko 2023), which estimates its step size d. */
#include <math.h>
#include "../base/elementary.h"
#include "internal.h"

enum { M, V, S };                               /* of the slots: moments, weighted sum of gradients */
enum { D, NUMERATOR, STEPS };                   /* of the scalars */
enum { DLR };                                   /* of now[] */

static void set_slots(const struct optimizer *o, struct parameter *p)
{
	p->slot[M] = p->slot[V] = p->slot[S] = slot_of_floats(p->count);
}

/* Updates the moments, and adds up the two sums of which d is estimated. */
static void take_gradients(struct optimizer *o, double dlr, float grad_scale, struct two_sums *sums)
{
	const struct optimizer_settings *s = &o->settings;
	const double root2 = sqrt(s->beta2);
	const struct estimate_step step = {
		.grad_scale = grad_scale, .decay = s->decouple ? 0 : s->decay, .eps = s->eps,
		.m = { dlr * (1 - s->beta1), s->beta1 }, .v = { 1 - s->beta2, s->beta2 },
		.s = { dlr * (1 - root2), root2 },
	};

	o->be->estimate(o->device, o->sums, o->table, &step, o->moving);
	optimizer_add_up(o, dlr, sums);
}

static bool begin(struct optimizer *o, double multiplier, float grad_scale)
{
	const struct optimizer_settings *s = &o->settings;
	const double lr = optimizer_common_lr(o, multiplier), root2 = sqrt(s->beta2), k = o->scalar[STEPS] + 1;
	const double correction =
		s->bias_correction ? sqrt(1 - plain_pow(s->beta2, k)) / (1 - plain_pow(s->beta1, k)) : 1;
	struct two_sums sums = { 0 };
	double *d = &o->scalar[D];

	if (lr <= 0)
		return false;
	o->now[DLR] = *d * lr * correction;
	take_gradients(o, o->now[DLR], grad_scale, &sums);
	if (sums.magnitude == 0)
		return false;
	o->scalar[NUMERATOR] = root2 * o->scalar[NUMERATOR] + (1 - root2) * sums.numerator;
	o->scalar[STEPS] = k;
	*d = fmax(*d, fmin(o->scalar[NUMERATOR] / ((1 - root2) * sums.magnitude), *d * s->growth_rate));
	return true;
}

static void move(const struct optimizer *o, double multiplier, float grad_scale)
{
	const struct optimizer_settings *s = &o->settings;
	const double keep = s->decouple ? 1 - s->decay * o->now[DLR] : 1;

	o->be->estimate_move(o->device, o->sums, -1, s->eps, keep, o->table, o->moving);
}

static const struct optimizer_argument arguments[] = {
	BETAS(0), NUMBER("eps", eps, 1e-30, 1), NUMBER("weight_decay", decay, 0, 100), FLAG("decouple", decouple),
	FLAG("use_bias_correction", bias_correction), NUMBER("d0", d0, 1e-12, 1),
	NUMBER("growth_rate", growth_rate, 1, INFINITY), { 0 },
};

const struct optimizer_kind optimizer_dadapt = {
	.name = "DAdaptAdam", .python = "dadaptation.dadapt_adam.DAdaptAdam", .arguments = arguments,
	.defaults = { .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .d0 = 1e-6, .growth_rate = INFINITY },
	.scalars = 3, .finds_d = true, .set_slots = set_slots, .begin = begin, .move = move,
};
