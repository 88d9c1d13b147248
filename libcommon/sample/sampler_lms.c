/* The linear multistep method (Adams and Bashforth). */
#include <math.h>
#include "sampler_internal.h"

enum { ORDER = 4 };

/* The Lagrange polynomial over the sigmas of the last `order` slopes that is 1 at the j-th and 0 at the others. */
static double basis(const struct sampler_plan *p, int i, int order, int j, double sigma)
{
	double product = 1;
	int k;

	for (k = 0; k < order; k++)
		if (k != j)
			product *= (sigma - p->sigma[i - k]) / ((double)p->sigma[i - j] - p->sigma[i - k]);
	return product;
}

/* Its integral over the step, by Gauss-Legendre quadrature with two points, which is exact up to degree 3. */
static float coefficient(const struct sampler_plan *p, int i, int order, int j)
{
	double middle = ((double)p->sigma[i] + p->sigma[i + 1]) / 2, half = ((double)p->sigma[i + 1] - p->sigma[i]) / 2;

	return half * (basis(p, i, order, j, middle - half / sqrt(3)) + basis(p, i, order, j, middle + half / sqrt(3)));
}

/* Linear multistep (Adams and Bashforth) on dx/dsigma, for unequal steps. */
static void lms_step(struct sampler_plan *p, int i, float *x, const float *output, const float *noise, size_t n)
{
	int j, order = i + 1 < ORDER ? i + 1 : ORDER;
	float *slope = sampler_remember(p, ORDER, n);
	size_t k;

	(void)noise;
	for (k = 0; k < n; k++)
		slope[k] = sampler_slope(p, p->sigma[i], x[k], output[k]);
	for (j = 0; j < order; j++) {
		float c = coefficient(p, i, order, j);
		for (k = 0; k < n; k++)
			x[k] += c * p->kept[j][k];
	}
}

const struct sampler sampler_lms = { .name = "lms", .label = "LMS", .exploding = true, .step = lms_step };
