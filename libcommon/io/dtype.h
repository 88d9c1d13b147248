/*
 * dtype.h - element types of tensors in files and in memory, and their conversion.
 *
 * Names are those of safetensors.
 */
#ifndef IO_DTYPE_H
#define IO_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 0 is F32: a tensor of which nothing else is said. */
enum dtype { DTYPE_F32, DTYPE_F64, DTYPE_I64, DTYPE_U64, DTYPE_I32, DTYPE_U32, DTYPE_F16, DTYPE_BF16, DTYPE_I16,
	     DTYPE_U16, DTYPE_F8_E4M3, DTYPE_F8_E5M2, DTYPE_I8, DTYPE_U8, DTYPE_BOOL, DTYPE_COUNT };

const char *dtype_name(enum dtype t);                           /* "F16" */
int dtype_from_name(const char *name, size_t length);           /* -1: unknown */
size_t dtype_size(enum dtype t);                                /* bytes an element */

/* kohya's words: "fp16", "bf16"; F32 for "float" and any other. */
enum dtype dtype_from_precision(const char *word);

bool dtype_is_float(enum dtype t);                              /* F64, F32, F16, BF16, F8 */

/* n elements; src need not be aligned.  Floats, I64, I32 and U8 convert to float; others return -1. */
int to_float(float *dst, const void *src, enum dtype from, size_t n);
/* Round to nearest even; dst need not be aligned.  F32, F16, BF16, F8 only, else -1.  Overflow becomes infinity, or
 * not-a-number in E4M3, which has none. */
int from_float(void *dst, enum dtype to, const float *src, size_t n);
/* What from_float() and to_float() make of x. */
void round_floats(float *x, enum dtype to, size_t n);

#endif
