/* The table of inner loops (body.h), compiled for AVX-512 as processors have it since 2017. */
#ifdef __x86_64__
#ifdef __clang__
#include "internal.h"
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c"))), \
			     apply_to = function)
#include "simd_avx512.h"
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c")
#include "internal.h"
#include "simd_avx512.h"
#endif
#define KERNELS cpu_kernels_avx512
#define KERNELS_NAME "avx512"
#include "body.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
