/* Sums over a whole tensor: a partial sum for each block, then the sum of these in order. */
#include "dev.cuh"
#include "kernels.h"

enum { THREADS = 256, A_BLOCK = 16 * 1024 };   /* elements that are worth a block */

enum term { SQUARES, PRODUCTS, MAGNITUDES };

template <term T> DEV double term_of(const float *x, const float *z, size_t i)
{
	return T == SQUARES ? (double)x[i] * x[i] : T == PRODUCTS ? (double)x[i] * z[i] : (double)fabsf(x[i]);
}

template <term T> __global__ void __launch_bounds__(THREADS)
part_kernel(double *part, const float *x, const float *z, size_t n)
{
	SHARED(double, tmp, [32]);
	const size_t each = (n + gridDim.x - 1) / gridDim.x, first = each * blockIdx.x, end = min(n, first + each);
	double sum = 0;

	for (size_t i = first + threadIdx.x; i < end; i += THREADS)
		sum += term_of<T>(x, z, i);
	sum = block_sum(sum, tmp);
	if (threadIdx.x == 0)
		part[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(THREADS) total_kernel(double *sum, const double *part, int parts)
{
	SHARED(double, tmp, [32]);
	double s = 0;

	for (int i = threadIdx.x; i < parts; i += THREADS)
		s += part[i];
	s = block_sum(s, tmp);
	if (threadIdx.x == 0)
		*sum = s;
}

template <term T>
static cudaError_t sum_up(cudaStream_t st, double *sum, const float *x, const float *z, size_t n, double *scratch)
{
	const size_t wanted = (n + A_BLOCK - 1) / A_BLOCK;
	const int blocks = wanted < REDUCE_SCRATCH ? wanted : REDUCE_SCRATCH;

	if (blocks <= 1) {
		LAUNCH(part_kernel<T>, 1, THREADS, 0, st, sum, x, z, n);
		return cudaGetLastError();
	}
	LAUNCH(part_kernel<T>, blocks, THREADS, 0, st, scratch, x, z, n);
	LAUNCH(total_kernel, 1, THREADS, 0, st, sum, scratch, blocks);
	return cudaGetLastError();
}

extern "C" cudaError_t k_sum_squares(cudaStream_t st, double *sum, const float *x, size_t n, double *scratch)
{
	return sum_up<SQUARES>(st, sum, x, x, n, scratch);
}

extern "C" cudaError_t k_sum_products(cudaStream_t st, double *sum, const float *x, const float *z, size_t n,
				      double *scratch)
{
	return sum_up<PRODUCTS>(st, sum, x, z, n, scratch);
}

extern "C" cudaError_t k_sum_magnitudes(cudaStream_t st, double *sum, const float *x, size_t n, double *scratch)
{
	return sum_up<MAGNITUDES>(st, sum, x, x, n, scratch);
}
