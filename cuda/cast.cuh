/*
 * cast.cuh - floats as operands of tensor cores: the types, and the power of two that keeps half precision in range.
 *
 * Shared by the kernels that write casts (cast.cu) and by those that cast what they read (convolve.cu).
 */
#ifndef CUDA_CAST_CUH
#define CUDA_CAST_CUH

#include "dev.cuh"

DEV void put(float *y, float x) { *y = x; }
DEV void put(__half *y, float x) { *y = __float2half_rn(x); }
DEV void put(__nv_bfloat16 *y, float x) { *y = __float2bfloat16_rn(x); }

/* The exponent of the power of two that brings `most` to 2^13..2^14; 0 where there is nothing to bring, or it is not
 * finite.  fmaxf leaves NaN out; it stays NaN under any factor. */
DEV int shift_for(float most)
{
	const int exponent = __float_as_int(most) >> 23;

	return most == 0 || exponent == 255 ? 0 : min(13 + 127 - exponent, 126);
}

DEV float power_of_two(int e)
{
	return __int_as_float((127 + e) << 23);
}

/* Every block finds it for itself: the largest of some hundred numbers costs less than another launch. */
DEV int shift_of(const float *part, int parts, float *tmp)
{
	float most = 0;

	for (int i = threadIdx.x; i < parts; i += blockDim.x)
		most = fmaxf(most, part[i]);
	return shift_for(block_max(most, tmp));
}

static inline bool aligned(const void *p, size_t bytes)
{
	return (uintptr_t)p % bytes == 0;
}

/* cast.cu: parts of the largest magnitude into scratch, CAST_SCRATCH floats; returns how many */
int find_magnitude(cudaStream_t st, const float *x, size_t n, float *scratch);

#endif
