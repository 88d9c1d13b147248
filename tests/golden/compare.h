/*
 * compare.h - a value against its reference: how far, how far it may be, and the count of both.
 *
 * The tolerances are those of golden/README.md ("How close a float32 program should come").  "relative" is the greatest
 * error over the greatest value of the group.  Must not know what the values are.
 */
#ifndef GOLDEN_COMPARE_H
#define GOLDEN_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include "../../libcommon/base/error.h"

enum kind { KIND_EXACT, KIND_TEXT, KIND_VAE, KIND_UNET, KIND_SAMPLER, KIND_PICTURE, KIND_LOSS, KIND_GRAD_NORM,
	    KIND_GRAD_UNET,
	    KIND_GRAD_TEXT, KIND_GRAD_TEXT_ALONE, KIND_WEIGHTS, KIND_LOSSES, KIND_RATE, KIND_HALF, KIND_DELTA };

/* coarse: the device multiplies with 11 bits (tf32, half precision) instead of 24 */
struct tally { int passed, failed, skipped; bool coarse; };

/* Errors of a group of tensors, gathered one by one. */
struct spread { double error, value, error2, value2; size_t n; };
void spread_add(struct spread *s, const float *got, const float *want, size_t n);

/* Each prints one line. */
void judge(struct tally *t, enum kind k, const struct spread *s, const char *name, ...) PRINTF_LIKE(4, 5);
void passed(struct tally *t, const char *name, ...) PRINTF_LIKE(2, 3);
void failed(struct tally *t, const char *why, ...) PRINTF_LIKE(2, 3);
void skipped(struct tally *t, const char *what, ...) PRINTF_LIKE(2, 3);

#endif
