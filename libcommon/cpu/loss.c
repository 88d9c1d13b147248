#include "internal.h"

/* Partial sums, one a chunk, added up in order: the same for any number of threads. */
static double add_up(const double *part, size_t n)
{
	double sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sum += part[i];
	return sum;
}

double cpu_sum_squares(struct device *d, const float *x, size_t n)
{
	double *part = caller_scratch(d, (n / CHUNK + 1) * sizeof(*part));
	size_t i;

#pragma omp parallel for num_threads(d->threads) if (n > WORTH_THREADS)
	for (i = 0; i < n; i += CHUNK)
		part[i / CHUNK] = d->k->sum_squares(x + i, chunk_length(n, i));
	return add_up(part, (n + CHUNK - 1) / CHUNK);
}

void cpu_mse(struct device *d, float *loss, const float *x, const float *target, const float *weight, int n, size_t each)
{
	double *part = caller_scratch(d, (each / CHUNK + 1) * sizeof(*part));
	size_t i;
	int s;

	for (s = 0; s < n; s++, x += each, target += each) {
#pragma omp parallel for num_threads(d->threads) if (each > WORTH_THREADS)
		for (i = 0; i < each; i += CHUNK)
			part[i / CHUNK] = d->k->sum_squared_difference(x + i, target + i, chunk_length(each, i));
		loss[s] = weight[s] * (add_up(part, (each + CHUNK - 1) / CHUNK) / each);
	}
}

/* inverts loss = weight mean (x - target)^2:  dx = dloss weight 2 (x - target) / each */
void cpu_mse_back(struct device *d, float *dx, const float *dloss, const float *x, const float *target, const float *weight, int n,
		  size_t each, int add)
{
	size_t i;
	int s;

	for (s = 0; s < n; s++) {
		const size_t at = s * each;
		const float factor = (double)dloss[s] * weight[s] * 2 / each;

#pragma omp parallel for num_threads(d->threads) if (each > WORTH_THREADS)
		for (i = 0; i < each; i += CHUNK)
			d->k->scaled_difference(dx + at + i, factor, x + at + i, target + at + i, chunk_length(each, i), add);
	}
}

void cpu_adamw(struct device *d, float *p, float *m, float *v, const float *grad, size_t n, const struct adamw_step *s)
{
	size_t i;

#pragma omp parallel for num_threads(d->threads) if (n > WORTH_THREADS / 4)
	for (i = 0; i < n; i += CHUNK)
		d->k->adamw(p + i, m + i, v + i, grad + i, chunk_length(n, i), s);
}
