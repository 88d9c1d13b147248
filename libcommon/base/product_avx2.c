/* The inner loop of product.c with AVX2 and FMA: four doubles at a time. */
#ifdef __x86_64__
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include <immintrin.h>
enum { LANES = 4 };
#define all(x) ((vec)_mm256_set1_pd(x))
#define mul_add(a, b, c) ((vec)_mm256_fmadd_pd(a, b, c))
#define PRODUCT_LOOP product_loop_avx2
#include "product_body.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
