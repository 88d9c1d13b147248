/* The table of inner loops (body.h), compiled for AVX2, FMA and F16C. */
#ifdef __x86_64__
#ifdef __clang__
#include "internal.h"
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "simd_avx2.h"
#else
#pragma GCC target("avx2,fma,f16c")
#include "internal.h"
#include "simd_avx2.h"
#endif
#define KERNELS cpu_kernels_avx2
#define KERNELS_NAME "avx2"
#include "body.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
