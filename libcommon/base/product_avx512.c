/* The inner loop of product.c with AVX-512: eight doubles at a time. */
#ifdef __x86_64__
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f"))), apply_to = function)
#else
#pragma GCC target("avx512f")
#endif
#include <immintrin.h>
enum { LANES = 8 };
#define all(x) ((vec)_mm512_set1_pd(x))
#define mul_add(a, b, c) ((vec)_mm512_fmadd_pd(a, b, c))
#define PRODUCT_LOOP product_loop_avx512
#include "product_body.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
