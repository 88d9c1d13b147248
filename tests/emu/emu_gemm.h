/*
 * emu_gemm.h - matrix products for emu_blas.cpp, on one core with AVX2 and FMA.
 */
#ifndef EMU_GEMM_H
#define EMU_GEMM_H

#include <cstdint>

namespace emu {

/* TF32: floats, of which 10 bits of fraction are multiplied */
enum element { ELEMENT_F32, ELEMENT_TF32, ELEMENT_F16, ELEMENT_BF16 };

/* Columns first, as BLAS counts: a is [rows,depth] in columns, or transposed. */
struct operand { const void *at; element type; long ld; bool transposed; };

/* c[m,n] = alpha op(a) op(b) + beta c; beta 0 overwrites */
void gemm(long m, long n, long k, float alpha, operand a, operand b, float beta, float *c, long ldc);
/* The same into c of a's type: the sum is float, with what it is added to, and is rounded once. */
void gemm_to_halves(long m, long n, long k, float alpha, operand a, operand b, float beta, uint16_t *c, long ldc);

}

#endif
