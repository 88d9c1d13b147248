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

/* Updates the moments; what the parameter adds to the sums of which d is estimated. */
static struct two_sums take_gradient(struct optimizer *o, struct parameter *p, double dlr, double beta3)
{
	const struct optimizer_settings *s = &o->settings;
	const double d = o->scalar[D], weight = d / s->d0;
	float *grad = p->tensor->grad, *data = p->tensor->data;
	struct two_sums adds;

	if (!p->steps)
		o->be->copy(o->device, p->slot[START].data, data, p->count);
	if (s->decay && !s->decouple)
		o->be->axpby(o->device, f32(grad), s->decay, f32(data), 1, p->count);
	o->be->copy(o->device, o->scratch, p->slot[START].data, p->count);
	o->be->axpby(o->device, f32(o->scratch), -1, f32(data), 1, p->count);
	adds.numerator = weight * dlr * o->be->sum_products(o->device, grad, o->scratch, p->count);
	o->be->axpby(o->device, f32(p->slot[M].data), d * (1 - s->beta1), f32(grad), s->beta1, p->count);
	o->be->axxpby(o->device, p->slot[V].data, d * d * (1 - s->beta2), grad, s->beta2, p->count);
	o->be->axpby(o->device, f32(p->slot[S].data), weight * (s->safeguard_warmup ? d : dlr), f32(grad), beta3,
		     p->count);
	adds.magnitude = o->be->sum_magnitudes(o->device, p->slot[S].data, p->count);
	return adds;
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

static bool begin(struct optimizer *o, double multiplier)
{
	const struct optimizer_settings *s = &o->settings;
	const double lr = optimizer_common_lr(o, multiplier), k = o->scalar[STEPS] + 1;
	const double beta3 = s->beta3 < 0 ? sqrt(s->beta2) : s->beta3;
	const double correction =
		s->bias_correction ? sqrt(1 - plain_pow(s->beta2, k)) / (1 - plain_pow(s->beta1, k)) : 1;
	struct two_sums *of, sums = { .numerator = beta3 * o->scalar[NUMERATOR] };
	size_t i;

	if (lr <= 0)
		return false;
	o->now[DLR] = o->scalar[D] * lr * correction;
	of = xcalloc(o->count, sizeof(*of));
	for (i = 0; i < o->count; i++)
		if (o->parameter[i].tensor->has_grad && optimizer_owns(o, &o->parameter[i]))
			of[i] = take_gradient(o, &o->parameter[i], o->now[DLR], beta3);
	sums = optimizer_add_up(o, of, sums);
	if (sums.magnitude == 0)
		return false;
	o->scalar[NUMERATOR] = sums.numerator;
	o->scalar[STEPS] = k;
	set_d(o, s->d_coef * sums.numerator / sums.magnitude);
	return true;
}

static void move(const struct optimizer *o, struct parameter *p, double lr, float grad_scale)
{
	const struct optimizer_settings *s = &o->settings;
	const double dlr = o->now[DLR], keep = s->decouple ? 1 - s->decay * dlr : 1;

	o->be->over_root(o->device, p->tensor->data, -dlr, p->slot[M].data, p->slot[V].data, o->scalar[D] * s->eps,
			 keep, p->count);
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
	.scalars = 4, .finds_d = true, .needs_scratch = true, .set_slots = set_slots, .begin = begin, .move = move,
};
