/*
 * dtype_half.h - IEEE half precision to float and back, over arrays that need not be aligned on the half's side.
 *
 * Two implementations with equal results, down to the bits of not-a-numbers: portable, and F16C where the processor has
 * it.
 */
#ifndef IO_DTYPE_HALF_H
#define IO_DTYPE_HALF_H

#include <stddef.h>

void half_to_float(float *dst, const unsigned char *src, size_t n);
void half_from_float(unsigned char *dst, const float *src, size_t n);
void half_to_float_portable(float *dst, const unsigned char *src, size_t n);
void half_from_float_portable(unsigned char *dst, const float *src, size_t n);

#endif
