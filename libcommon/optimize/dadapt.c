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

/* Updates the moments; what the parameter adds to the sums of which d is estimated. */
static struct two_sums take_gradient(struct optimizer *o, struct parameter *p, double dlr)
{
	const struct optimizer_settings *s = &o->settings;
	const double root2 = sqrt(s->beta2);
	float *grad = p->tensor->grad;
	struct two_sums adds;

	if (s->decay && !s->decouple)
		o->be->axpby(o->device, f32(grad), s->decay, f32(p->tensor->data), 1, p->count);
	o->be->over_root(o->device, o->scratch, 1, p->slot[S].data, p->slot[V].data, s->eps, 0, p->count);
	adds.numerator = dlr * o->be->sum_products(o->device, grad, o->scratch, p->count);
	o->be->axpby(o->device, f32(p->slot[M].data), dlr * (1 - s->beta1), f32(grad), s->beta1, p->count);
	o->be->axxpby(o->device, p->slot[V].data, 1 - s->beta2, grad, s->beta2, p->count);
	o->be->axpby(o->device, f32(p->slot[S].data), dlr * (1 - root2), f32(grad), root2, p->count);
	adds.magnitude = o->be->sum_magnitudes(o->device, p->slot[S].data, p->count);
	return adds;
}

static bool begin(struct optimizer *o, double multiplier)
{
	const struct optimizer_settings *s = &o->settings;
	const double lr = optimizer_common_lr(o, multiplier), root2 = sqrt(s->beta2), k = o->scalar[STEPS] + 1;
	const double correction =
		s->bias_correction ? sqrt(1 - plain_pow(s->beta2, k)) / (1 - plain_pow(s->beta1, k)) : 1;
	struct two_sums *of, sums = { 0 };
	double *d = &o->scalar[D];
	size_t i;

	if (lr <= 0)
		return false;
	o->now[DLR] = *d * lr * correction;
	of = xcalloc(o->count, sizeof(*of));
	for (i = 0; i < o->count; i++)
		if (o->parameter[i].tensor->has_grad && optimizer_owns(o, &o->parameter[i]))
			of[i] = take_gradient(o, &o->parameter[i], o->now[DLR]);
	sums = optimizer_add_up(o, of, sums);
	if (sums.magnitude == 0)
		return false;
	o->scalar[NUMERATOR] = root2 * o->scalar[NUMERATOR] + (1 - root2) * sums.numerator;
	o->scalar[STEPS] = k;
	*d = fmax(*d, fmin(o->scalar[NUMERATOR] / ((1 - root2) * sums.magnitude), *d * s->growth_rate));
	return true;
}

static void move(const struct optimizer *o, struct parameter *p, double lr, float grad_scale)
{
	const struct optimizer_settings *s = &o->settings;
	const double keep = s->decouple ? 1 - s->decay * o->now[DLR] : 1;

	o->be->over_root(o->device, p->tensor->data, -1, p->slot[M].data, p->slot[V].data, s->eps, keep, p->count);
}

static const struct optimizer_argument arguments[] = {
	BETAS(0), NUMBER("eps", eps, 1e-30, 1), NUMBER("weight_decay", decay, 0, 100), FLAG("decouple", decouple),
	FLAG("use_bias_correction", bias_correction), NUMBER("d0", d0, 1e-12, 1),
	NUMBER("growth_rate", growth_rate, 1, INFINITY), { 0 },
};

const struct optimizer_kind optimizer_dadapt = {
	.name = "DAdaptAdam", .python = "dadaptation.dadapt_adam.DAdaptAdam", .arguments = arguments,
	.defaults = { .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .d0 = 1e-6, .growth_rate = INFINITY },
	.scalars = 3, .finds_d = true, .needs_scratch = true, .set_slots = set_slots, .begin = begin, .move = move,
};
