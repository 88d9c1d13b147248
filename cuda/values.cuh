/*
 * values.cuh - struct values in kernels: half precision in memory, floats in between.
 *
 * What lies in memory is 2^shift times what is meant.  Type and shift are the same for all threads, so that a branch on
 * them costs no divergence.  A float above 65504 becomes Inf as F16; BF16 has the range of floats.
 */
#ifndef CUDA_VALUES_CUH
#define CUDA_VALUES_CUH

#include "cast.cuh"
#include "kernels.h"

DEV float of_half(uint16_t bits, enum dtype type)
{
	__half h;

	if (type == DTYPE_BF16)
		return __int_as_float((int)((uint32_t)bits << 16));
	memcpy(&h, &bits, sizeof(h));
	return __half2float(h);
}

DEV uint16_t to_half(float x, enum dtype type)
{
	uint16_t bits;

	if (type == DTYPE_BF16) {
		const __nv_bfloat16 b = __float2bfloat16_rn(x);

		memcpy(&bits, &b, sizeof(bits));
	} else {
		const __half h = __float2half_rn(x);

		memcpy(&bits, &h, sizeof(bits));
	}
	return bits;
}

DEV float load(const struct values &v, size_t i)
{
	if (v.type == DTYPE_F32)
		return ((const float *)v.at)[i];
	return of_half(((const uint16_t *)v.at)[i], v.type) * power_of_two(-v.shift);
}

DEV void store(const struct values &v, size_t i, float x)
{
	if (v.type == DTYPE_F32)
		((float *)v.at)[i] = x;
	else
		((uint16_t *)v.at)[i] = to_half(x * power_of_two(v.shift), v.type);
}

/* Two neighbours that may be written at once, under their power of two already. */
DEV void store_pair(void *at, enum dtype type, float a, float b, int add)
{
	if (type == DTYPE_F32) {
		float2 *to = (float2 *)at;
		const float2 old = add ? *to : float2{ 0, 0 };

		*to = { old.x + a, old.y + b };
	} else {
		uint32_t *to = (uint32_t *)at;
		const uint32_t old = add ? *to : 0;

		*to = to_half(of_half((uint16_t)old, type) + a, type) |
		      (uint32_t)to_half(of_half((uint16_t)(old >> 16), type) + b, type) << 16;
	}
}

/* v[i] = x + (add ? v[i] : 0) */
DEV void store(const struct values &v, size_t i, float x, int add)
{
	store(v, i, add ? load(v, i) + x : x);
}

#endif
