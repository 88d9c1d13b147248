/*
 * emu_half.h - 16-bit floats, rounded to the nearest even as cvt.rn does.
 *
 * NVIDIA's cuda_fp16.h works on a host too, but in software, 13 ns a conversion; these use F16C.
 */
#ifndef EMU_HALF_H
#define EMU_HALF_H

#include <immintrin.h>
#include "emu_core.h"

struct alignas(2) __half { unsigned short bits; };
struct alignas(4) __half2 { __half x, y; };
struct alignas(2) __nv_bfloat16 { unsigned short bits; };
struct alignas(4) __nv_bfloat162 { __nv_bfloat16 x, y; };
typedef __half half;
typedef __half2 half2;

static inline float __half2float(__half h) { return _cvtsh_ss(h.bits); }
static inline __half __float2half_rn(float x) { return { (unsigned short)_cvtss_sh(x, 0) }; }
static inline __half __float2half(float x) { return __float2half_rn(x); }
static inline __half2 __floats2half2_rn(float x, float y) { return { __float2half_rn(x), __float2half_rn(y) }; }
static inline float2 __half22float2(__half2 h) { return make_float2(__half2float(h.x), __half2float(h.y)); }

static inline float __bfloat162float(__nv_bfloat16 b)
{
	const uint32_t bits = (uint32_t)b.bits << 16;
	float x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

static inline __nv_bfloat16 __float2bfloat16_rn(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof(x));
	if (x != x)
		return { 0x7fff };
	return { (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16) };
}

static inline __nv_bfloat16 __float2bfloat16(float x) { return __float2bfloat16_rn(x); }
static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y)
{
	return { __float2bfloat16_rn(x), __float2bfloat16_rn(y) };
}
static inline float2 __bfloat1622float2(__nv_bfloat162 h)
{
	return make_float2(__bfloat162float(h.x), __bfloat162float(h.y));
}

#endif
