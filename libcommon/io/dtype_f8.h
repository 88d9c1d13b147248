/*
 * dtype_f8.h - the two 8-bit floats of safetensors to float and back, to the nearest, ties to even.
 *
 * E4M3 has no infinity: 0x7f is its only not-a-number, which what lies above its range becomes too, as in PyTorch
 * (c10/util/Float8_e4m3fn.h).  E5M2 is the upper half of a half.
 */
#ifndef IO_DTYPE_F8_H
#define IO_DTYPE_F8_H

#include <stddef.h>

void e4m3_to_float(float *dst, const unsigned char *src, size_t n);
void e5m2_to_float(float *dst, const unsigned char *src, size_t n);
void e4m3_from_float(unsigned char *dst, const float *src, size_t n);
void e5m2_from_float(unsigned char *dst, const float *src, size_t n);

#endif
