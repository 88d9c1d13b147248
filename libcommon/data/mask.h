/*
 * mask.h - loss masks: the weight of each pixel of a latent in the loss, 0 (black) to 1 (white).
 *
 * Must not know training.
 */
#ifndef DATA_MASK_H
#define DATA_MASK_H

#include <stddef.h>
#include "../base/error.h"

/* Shrinks a picture's mask [ph,pw] to the size of its latent [h,w], by means over areas (PyTorch's "area": borders
 * rounded outwards). */
void mask_shrink(float *out, int w, int h, const float *mask, int pw, int ph);

/* Reads a mask.  size: [w,h] of the picture, which the mask must have.  latent: [w,h] of *out, which is malloced; NULL
 * where the mask is white all over. */
int mask_read(const char *name, const void *bytes, size_t n, const int size[2], const int latent[2], float **out,
	      struct error *e) MUST_CHECK;

/* The mask [h,w] of the mirrored picture, malloced. */
float *mask_mirrored(const float *mask, int w, int h);

#endif
