/* Weights of averages over a run's saves. */
#include <math.h>
#include "../base/elementary.h"
#include "averages.h"

void weights_of_mean(double *weight, size_t n)
{
	for (size_t i = 0; i < n; i++)
		weight[i] = 1 / (double)n;
}

void weights_of_ema(double *weight, size_t n, double decay)
{
	double left = 1;

	for (size_t i = n; i-- > 1; left *= decay)
		weight[i] = left * (1 - decay);
	weight[0] = left;
}

void weights_of_power(double *weight, const double *step, size_t n, double gamma)
{
	double before = 0;

	for (size_t i = 0; i < n; i++) {
		const double now = plain_pow(step[i] / step[n - 1], gamma + 1);

		weight[i] = now - before;
		before = now;
	}
}

static double width_of(double gamma)
{
	return sqrt((gamma + 1) / (gamma + 3)) / (gamma + 2);
}

/* The width falls with gamma, to about 1 / gamma. */
double gamma_of_width(double width)
{
	double low = 0, high = 1 / width;

	for (int i = 0; i < 200; i++) {
		const double middle = (low + high) / 2;

		if (width_of(middle) > width)
			low = middle;
		else
			high = middle;
	}
	return (low + high) / 2;
}
