/* Adafactor (Shazeer and Stern 2018), as transformers has it. */
#include <math.h>
#include "../base/elementary.h"
#include "internal.h"

enum { ROW, COL, MOMENT };      /* of the slots */

static void set_slots(const struct optimizer *o, struct parameter *p)
{
	const struct factored_shape *s = &p->shape;

	p->slot[ROW] = slot_of_floats((size_t)s->outer * s->rows * s->inner);
	p->slot[COL] = slot_of_floats((size_t)s->outer * s->cols * s->inner);
	if (o->settings.beta1 >= 0)
		p->slot[MOMENT] = slot_of_floats(p->count);
}

/* The step size, before the scale of the parameter.  Without relative_step it is the user's learning rate.  step counts
 * from 1. */
static double step_size(const struct optimizer_settings *s, double lr, double multiplier, long step)
{
	if (!s->relative_step)
		return lr * multiplier;
	return fmin(s->warmup_init ? 1e-6 * step : 1e-2, 1 / sqrt(step));
}

static double root_mean_square(const struct optimizer *o, const float *x, size_t n)
{
	double *sum = o->sums + o->count, squares;

	o->be->sum_squares(o->device, sum, x, n);
	o->be->download(o->device, &squares, sum, sizeof(squares));
	return sqrt(squares / n);
}

static void move(const struct optimizer *o, struct parameter *p, double lr, float grad_scale)
{
	const struct optimizer_settings *s = &o->settings;
	const double scale = s->scale_parameter ? fmax(s->eps2, root_mean_square(o, p->tensor->data, p->count)) : 1;
	const double size = scale * step_size(s, lr, 1, p->steps);
	double too_long;
	float *step = o->scratch;

	if (grad_scale != 1)
		o->be->axpby(o->device, f32(p->tensor->grad), grad_scale, f32(p->tensor->grad), 0, p->count);
	o->be->adafactor(o->device, step, p->slot[ROW].data, p->slot[COL].data, p->tensor->grad, &p->shape,
			 plain_pow(p->steps, s->decay_rate), s->eps);
	too_long = fmax(1, root_mean_square(o, step, p->count) / s->clip_threshold);
	if (p->slot[MOMENT].count) {
		o->be->axpby(o->device, f32(p->slot[MOMENT].data), (1 - s->beta1) * size / too_long, f32(step),
			     s->beta1, p->count);
		o->be->axpby(o->device, f32(p->tensor->data), -1, f32(p->slot[MOMENT].data), 1 - s->decay * size,
			     p->count);
	} else {
		o->be->axpby(o->device, f32(p->tensor->data), -size / too_long, f32(step), 1 - s->decay * size,
			     p->count);
	}
}

static const struct optimizer_argument arguments[] = {
	{ "eps", ARGUMENT_PAIR, offsetof(struct optimizer_settings, eps), 1e-37, 1 },
	NUMBER("clip_threshold", clip_threshold, 1e-6, 1e6), NUMBER("decay_rate", decay_rate, -10, 0),
	BETA("beta1", beta1), NUMBER("weight_decay", decay, 0, 100), FLAG("scale_parameter", scale_parameter),
	FLAG("relative_step", relative_step), FLAG("warmup_init", warmup_init), { 0 },
};

const struct optimizer_kind optimizer_adafactor = {
	.name = "Adafactor", .python = "transformers.optimization.Adafactor", .arguments = arguments,
	.defaults = { .eps = 1e-30, .eps2 = 1e-3, .clip_threshold = 1, .decay_rate = -0.8, .beta1 = -1,
		      .scale_parameter = true, .relative_step = true },
	.needs_scratch = true, .set_slots = set_slots, .move = move, .lr = step_size,
};
