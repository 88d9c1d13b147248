/*
 * each.cuh - calls a function object for every element of a tensor, one thread an element: by index, or by row and
 * column.
 *
 * Neighbouring threads take neighbouring elements, so that accesses are coalesced.
 */
#ifndef CUDA_EACH_CUH
#define CUDA_EACH_CUH

#include "dev.cuh"

enum { EACH_THREADS = 256, EACH_ITEMS = 4, EACH_WARPS = EACH_THREADS / 32 };

template <class F> __global__ void __launch_bounds__(EACH_THREADS) each_kernel(F f, size_t n)
{
	const size_t first = (size_t)blockIdx.x * (EACH_THREADS * EACH_ITEMS) + threadIdx.x;

	UNROLL for (int k = 0; k < EACH_ITEMS; k++)
		if (first + k * EACH_THREADS < n)
			f(first + k * EACH_THREADS);
}

/* f(i) for i < n */
template <class F> static cudaError_t each(cudaStream_t st, F f, size_t n)
{
	const size_t a_block = EACH_THREADS * EACH_ITEMS;

	if (n)
		LAUNCH(each_kernel<F>, (n + a_block - 1) / a_block, EACH_THREADS, 0, st, f, n);
	return cudaGetLastError();
}

template <class F> __global__ void __launch_bounds__(EACH_THREADS) each_in_rows_kernel(F f, size_t rows, int c)
{
	const size_t row = (size_t)blockIdx.x * EACH_WARPS + threadIdx.x / 32;

	if (row < rows)
		for (int i = threadIdx.x % 32; i < c; i += 32)
			f(row, i);
}

/* f(row, column), a warp a row: nothing is divided to find the place */
template <class F> static cudaError_t each_in_rows(cudaStream_t st, F f, size_t rows, int c)
{
	if (rows)
		LAUNCH(each_in_rows_kernel<F>, (rows + EACH_WARPS - 1) / EACH_WARPS, EACH_THREADS, 0, st, f, rows, c);
	return cudaGetLastError();
}

#endif
