/* The loops of nearest.c with AVX2.  Not with FMA: no product here is exact, and elsewhere none is fused. */
#ifdef __x86_64__
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif
#include <immintrin.h>
#define WIDEN(p) ((doubles)_mm256_cvtps_pd(_mm_loadu_ps(p)))
#define NARROW(x) ((floats)_mm256_cvtpd_ps((__m256d)(x)))
#define NEAREST_LOOPS nearest_avx2
#include "nearest_body.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
