/* The time of a call on a card, and sums of calls. */
#include <stddef.h>
#include "work.h"

/* What a kernel's memory traffic reaches of a card's bandwidth, and how long a launch takes that nothing hides: usual
 * figures, to be measured. */
#define REACHED   0.8
#define A_LAUNCH  3e-6

static double longer(double a, double b) { return a > b ? a : b; }

struct work_sum work_total(const struct work *w)
{
	struct work_sum sum = { 0 };
	double beside = 0;

	for (int i = 0; i < WORK_CLASSES; i++) {
		sum.kernels += w->of[i].kernels;
		sum.products += w->of[i].products;
		sum.copies += w->of[i].copies;
		sum.bytes += w->of[i].bytes;
		sum.flop += w->of[i].flop;
		sum.seconds += w->of[i].seconds;
		beside += w->of[i].beside;
	}
	sum.seconds = longer(sum.seconds, beside);
	return sum;
}

double work_floor(const struct work *w, const struct card_rates *r)
{
	return work_total(w).flop / r->half;
}

void work_add(struct work *w, const struct card_rates *r, const struct work_call *c)
{
	struct work_sum *to = &w->of[c->class];
	const long calls = c->kernels + c->products + c->copies;

	to->kernels += c->kernels;
	to->products += c->products;
	to->copies += c->copies;
	to->bytes += c->bytes;
	to->flop += c->flop;
	if (r)
		*(c->beside ? &to->beside : &to->seconds) += calls * A_LAUNCH +
			longer((c->flop + c->again) / (c->tf32 ? r->tf32 : r->half),
			       longer(c->bytes / (REACHED * r->memory), c->link / r->link));
}
