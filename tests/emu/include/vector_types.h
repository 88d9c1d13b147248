/* vector_types.h - the small vectors that kernels use, with a card's alignment. */
#ifndef VECTOR_TYPES_H
#define VECTOR_TYPES_H

struct uint3 { unsigned x, y, z; };
struct __attribute__((aligned(8))) float2 { float x, y; };
struct __attribute__((aligned(8))) uint2 { unsigned x, y; };
struct __attribute__((aligned(16))) float4 { float x, y, z, w; };
struct __attribute__((aligned(16))) uint4 { unsigned x, y, z, w; };
typedef struct uint3 uint3;
typedef struct float2 float2;
typedef struct uint2 uint2;
typedef struct float4 float4;
typedef struct uint4 uint4;

#ifdef __cplusplus
struct dim3 {
	unsigned x, y, z;
	constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) { }
};
#endif

#endif
