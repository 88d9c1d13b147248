/* The inner loops of linear algebra (linalg_body.h), compiled for AVX2, without FMA. */
#ifdef __x86_64__
#ifdef __clang__
#include "linalg_loops.h"
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#include "linalg_loops.h"
#endif
#define LANES 4
#define LOOPS linalg_avx2
#include "linalg_body.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
