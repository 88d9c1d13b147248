#include "internal.h"

#define EVERY_CHUNK _Pragma("omp parallel for num_threads(d->threads) if (n > WORTH_THREADS / 4)") for (size_t i = 0; i < n; i += CHUNK)

void cpu_activation(struct device *d, float *y, const float *x, size_t n, enum activation kind)
{
	EVERY_CHUNK
		d->k->activation(y + i, x + i, chunk_length(n, i), kind);
}

void cpu_activation_back(struct device *d, float *dx, const float *dy, const float *x, size_t n, enum activation kind, int add)
{
	EVERY_CHUNK
		d->k->activation_back(dx + i, dy + i, x + i, chunk_length(n, i), kind, add);
}

void cpu_axpby(struct device *d, float *y, float a, const float *x, float b, size_t n)
{
	EVERY_CHUNK
		d->k->axpby(y + i, a, x + i, b, chunk_length(n, i));
}

void cpu_add(struct device *d, float *y, const float *x, const float *z, size_t n)
{
	EVERY_CHUNK
		d->k->add(y + i, x + i, z + i, chunk_length(n, i));
}

void cpu_geglu(struct device *d, float *y, const float *x, int rows, int c)
{
	int r;

#pragma omp parallel for num_threads(d->threads) if ((double)rows * c > WORTH_THREADS / 4)
	for (r = 0; r < rows; r++) {
		const float *row = x + (size_t)r * 2 * c;

		d->k->geglu(y + (size_t)r * c, row, row + c, c);
	}
}

/* inverts y = a gelu(b), x = [a b]:  da = dy gelu(b);  db = dy a gelu'(b) */
void cpu_geglu_back(struct device *d, float *dx, const float *dy, const float *x, int rows, int c, int add)
{
	int r;

#pragma omp parallel for num_threads(d->threads) if ((double)rows * c > WORTH_THREADS / 4)
	for (r = 0; r < rows; r++) {
		const float *row = x + (size_t)r * 2 * c;
		float *to = dx + (size_t)r * 2 * c;

		d->k->geglu_back(to, to + c, dy + (size_t)r * c, row, row + c, c, add);
	}
}
