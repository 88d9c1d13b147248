/* Adafactor (Shazeer and Stern 2018), as transformers has it. */
#include <math.h>
#include <stdlib.h>
#include "../base/elementary.h"
#include "../base/memory.h"
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

static void move(const struct optimizer *o, double multiplier, float grad_scale)
{
	const struct optimizer_settings *s = &o->settings;
	struct adafactor_step *steps = xcalloc(o->moving + 1, sizeof(*steps));

	for (int i = 0; i < o->moving; i++) {
		const struct parameter *p = o->arrived[i];

		steps[i] = (struct adafactor_step){
			.share = plain_pow(p->steps, s->decay_rate), .scaled = s->scale_parameter,
			.size = step_size(s, p->lr, multiplier, p->steps), .least_scale = s->eps2,
			.clip = s->clip_threshold, .beta1 = s->beta1, .decay = s->decay, .eps = s->eps,
			.grad_scale = grad_scale,
		};
	}
	o->be->adafactor(o->device, o->sums, o->table, steps, o->moving);
	free(steps);
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
	.set_slots = set_slots, .move = move, .lr = step_size,
};
