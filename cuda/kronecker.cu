/* The Kronecker product of two small matrices, and its backward. */
#include "each.cuh"
#include "kernels.h"

enum { THREADS = 256 };

/* A row is one of y, cut at the taps; a column one of its q*n. */
struct product {
	float *y, scale; const float *a, *b; struct kronecker_shape s;
	__device__ void operator()(size_t row, int i) const
	{
		const size_t out = row / s.taps, tap = row % s.taps, big = out / s.m, small = out % s.m;

		y[row * ((size_t)s.q * s.n) + i] =
		    scale * a[big * s.q + i / s.n] * b[(small * s.taps + tap) * s.n + i % s.n];
	}
};

/* da[P,Q] = scale * sum over M, taps, N of dy b; a block an element of a */
__global__ void __launch_bounds__(THREADS)
    back_big_kernel(float *da, float scale, const float *dy, const float *b, kronecker_shape s, int add)
{
	SHARED(double, tmp, [32]);
	const size_t big = blockIdx.x / s.q, column = blockIdx.x % s.q, wide = (size_t)s.q * s.n,
		     count = (size_t)s.m * s.taps * s.n;
	const float *from = dy + big * s.m * s.taps * wide + column * s.n;
	double sum = 0;

	for (size_t i = threadIdx.x; i < count; i += THREADS)
		sum += (double)from[i / s.n * wide + i % s.n] * b[i];
	sum = block_sum(sum, tmp);
	if (threadIdx.x == 0)
		da[blockIdx.x] = (float)(scale * sum) + (add ? da[blockIdx.x] : 0);
}

/* db[M,tap,N] = scale * sum over P, Q of dy a; a thread an element of b */
struct back_small {
	float *db, scale; const float *dy, *a; struct kronecker_shape s; int add;
	__device__ void operator()(size_t row, int i) const
	{
		const size_t wide = (size_t)s.q * s.n, at = row * s.n + i;
		double sum = 0;

		for (int big = 0; big < s.p; big++) {
			const float *from = dy + ((size_t)big * s.m * s.taps + row) * wide + i;

			for (int j = 0; j < s.q; j++, from += s.n)
				sum += (double)*from * a[(size_t)big * s.q + j];
		}
		db[at] = (float)(scale * sum) + (add ? db[at] : 0);
	}
};

extern "C" cudaError_t k_kronecker(cudaStream_t st, float *y, float scale, const float *a, const float *b,
				   const struct kronecker_shape *s)
{
	return each_in_rows(st, product{ y, scale, a, b, *s }, (size_t)s->p * s->m * s->taps, s->q * s->n);
}

extern "C" cudaError_t k_kronecker_back(cudaStream_t st, float *da, float *db, float scale, const float *dy,
					const float *a, const float *b, const struct kronecker_shape *s,
					const int add[2])
{
	if (da)
		LAUNCH(back_big_kernel, s->p * s->q, THREADS, 0, st, da, scale, dy, b, *s, add[0]);
	if (db)
		return each_in_rows(st, back_small{ db, scale, dy, a, *s, add[1] }, (size_t)s->m * s->taps, s->n);
	return cudaGetLastError();
}
