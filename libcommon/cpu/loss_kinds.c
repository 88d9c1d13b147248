/* Losses of every kind, with masks.  A latent has some ten thousand elements: one thread is enough.  Squares without a
 * mask, of every usual run, are vectorised (loss.c). */
#include <math.h>
#include "internal.h"

/* sqrt(d^2 + c^2) - c, in a form without cancellation where d is small */
static double bend(double d, double c)
{
	return d * d / (sqrt(d * d + c * c) + c);
}

static double value(enum loss_kind kind, double d, double c)
{
	switch (kind) {
	case LOSS_L2:
		return d * d;
	case LOSS_L1:
		return fabs(d);
	case LOSS_HUBER:
		return 2 * c * bend(d, c);
	default:
		return 2 * bend(d, c);
	}
}

static double slope(enum loss_kind kind, double d, double c)
{
	switch (kind) {
	case LOSS_L2:
		return 2 * d;
	case LOSS_L1:
		return (d > 0) - (d < 0);
	case LOSS_HUBER:
		return 2 * c * d / sqrt(d * d + c * c);
	default:
		return 2 * d / sqrt(d * d + c * c);
	}
}

void cpu_loss(struct device *d, float *loss, const float *x, const float *target, const struct loss_terms *s)
{
	const size_t each = (size_t)s->pixels * s->channels;

	if (s->kind == LOSS_L2 && !s->mask) {
		squares_loss(d, loss, x, target, s);
		return;
	}
	for (int i = 0; i < s->n; i++, x += each, target += each) {
		const double c = s->c ? s->c[i] : 0;
		double sum = 0;

		for (size_t k = 0; k < each; k++)
			sum += value(s->kind, (double)x[k] - target[k], c) *
			       (s->mask ? s->mask[(size_t)i * s->pixels + k / s->channels] : 1);
		loss[i] = s->weight[i] * (sum / each);
	}
}

/* backward of loss = weight mean(mask f(x - target)):  dx = dloss weight mask f'(x - target) / each */
void cpu_loss_back(struct device *d, float *dx, const float *dloss, const float *x, const float *target,
		   const struct loss_terms *s, int add)
{
	const size_t each = (size_t)s->pixels * s->channels;

	if (s->kind == LOSS_L2 && !s->mask) {
		squares_loss_back(d, dx, dloss, x, target, s, add);
		return;
	}
	for (int i = 0; i < s->n; i++, x += each, target += each, dx += each) {
		const double c = s->c ? s->c[i] : 0, factor = (double)dloss[i] * s->weight[i] / each;

		for (size_t k = 0; k < each; k++) {
			const float g = factor * slope(s->kind, (double)x[k] - target[k], c) *
					(s->mask ? s->mask[(size_t)i * s->pixels + k / s->channels] : 1);

			dx[k] = add ? dx[k] + g : g;
		}
	}
}
