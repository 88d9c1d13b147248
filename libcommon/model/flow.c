/* Rectified flow: places on the line from latent to noise. */
#include <math.h>
#include "../base/elementary.h"
#include "flow.h"

double flow_shift(double sigma, double shift)
{
	return shift * sigma / (1 + (shift - 1) * sigma);
}

double flow_logit_normal(double normal, double mean, double std)
{
	return 1 / (1 + plain_exp(-(mean + std * normal)));
}

void flow_add(double sigma, float *noisy, const float *x, const float *noise, size_t n)
{
	const float a = 1 - sigma, b = sigma;

	for (size_t i = 0; i < n; i++)
		noisy[i] = a * x[i] + b * noise[i];
}

void flow_target(float *target, const float *x, const float *noise, size_t n)
{
	for (size_t i = 0; i < n; i++)
		target[i] = noise[i] - x[i];
}
