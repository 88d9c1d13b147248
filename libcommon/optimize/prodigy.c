/* Prodigy (Mishchenko and Defazio 2023), which estimates its step size d. */
#include <math.h>
#include "../base/elementary.h"
#include "internal.h"

/* of the slots: moments, weighted sum of gradients, the weights at the start */
enum { M, V, S, START };
enum { D, D_MAX, NUMERATOR, STEPS };            /* of the scalars */
enum { DLR };                                   /* of now[] */

static void set_slots(const struct optimizer *o, struct parameter *p)
{
	p->slot[M] = p->slot[V] = p->slot[S] = p->slot[START] = slot_of_floats(p->count);
}

/* Updates the moments, and adds up the two sums of which d is estimated. */
static void take_gradients(struct optimizer *o, double beta3, float grad_scale, struct two_sums *sums)
{
	const struct optimizer_settings *s = &o->settings;
	const double d = o->scalar[D], weight = d / s->d0, dlr = o->now[DLR];
	const struct estimate_step step = {
		.grad_scale = grad_scale, .decay = s->decouple ? 0 : s->decay,
		.m = { d * (1 - s->beta1), s->beta1 }, .v = { d * d * (1 - s->beta2), s->beta2 },
		.s = { weight * (s->safeguard_warmup ? d : dlr), beta3 },
	};

	optimizer_keep_first(o, START, 0);
	o->be->estimate(o->device, o->sums, o->table, &step, o->moving);
	optimizer_add_up(o, weight * dlr, sums);
}

static void set_d(struct optimizer *o, double estimate)
{
	const struct optimizer_settings *s = &o->settings;
	double *d = &o->scalar[D], *most = &o->scalar[D_MAX];

	if (*d == s->d0)
		*d = fmax(*d, estimate);
	*most = fmax(fmax(*most, s->d0), estimate);
	*d = fmin(*most, *d * s->growth_rate);
}

static bool begin(struct optimizer *o, double multiplier, float grad_scale)
{
	const struct optimizer_settings *s = &o->settings;
	const double lr = optimizer_common_lr(o, multiplier), k = o->scalar[STEPS] + 1;
	const double beta3 = s->beta3 < 0 ? sqrt(s->beta2) : s->beta3;
	const double correction =
		s->bias_correction ? sqrt(1 - plain_pow(s->beta2, k)) / (1 - plain_pow(s->beta1, k)) : 1;
	struct two_sums sums = { .numerator = beta3 * o->scalar[NUMERATOR] };

	if (lr <= 0)
		return false;
	o->now[DLR] = o->scalar[D] * lr * correction;
	take_gradients(o, beta3, grad_scale, &sums);
	if (sums.magnitude == 0)
		return false;
	o->scalar[NUMERATOR] = sums.numerator;
	o->scalar[STEPS] = k;
	set_d(o, s->d_coef * sums.numerator / sums.magnitude);
	return true;
}

static void move(const struct optimizer *o, double multiplier, float grad_scale)
{
	const struct optimizer_settings *s = &o->settings;
	const double dlr = o->now[DLR], keep = s->decouple ? 1 - s->decay * dlr : 1;

	o->be->estimate_move(o->device, o->sums, -dlr, o->scalar[D] * s->eps, keep, o->table, o->moving);
}

static const struct optimizer_argument arguments[] = {
	BETAS(0), BETA("beta3", beta3), NUMBER("eps", eps, 1e-30, 1), NUMBER("weight_decay", decay, 0, 100),
	FLAG("decouple", decouple), FLAG("use_bias_correction", bias_correction),
	FLAG("safeguard_warmup", safeguard_warmup), NUMBER("d0", d0, 1e-12, 1), NUMBER("d_coef", d_coef, 1e-6, 1e6),
	NUMBER("growth_rate", growth_rate, 1, INFINITY), { 0 },
};

const struct optimizer_kind optimizer_prodigy = {
	.name = "Prodigy", .python = "prodigyopt.prodigy.Prodigy", .arguments = arguments,
	.defaults = { .beta1 = 0.9, .beta2 = 0.999, .beta3 = -1, .eps = 1e-8, .decouple = true, .d0 = 1e-6, .d_coef = 1,
		      .growth_rate = INFINITY },
	.scalars = 4, .finds_d = true, .set_slots = set_slots, .begin = begin, .move = move,
};
