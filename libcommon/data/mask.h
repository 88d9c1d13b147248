/*
 * mask.h - how much each part of a picture counts: 0 (black) to 1 (white), a number for each pixel of the latent.
 *
 * Must not know training.
 */
#ifndef DATA_MASK_H
#define DATA_MASK_H

#include <stddef.h>
#include "../base/error.h"

/* A picture's mask [ph,pw] at the size of its latent [h,w]: the mean over the area (PyTorch's "area": borders rounded outwards). */
void mask_shrink(float *out, int w, int h, const float *mask, int pw, int ph);

/* size[2]: [w,h] of the picture, which the mask must have; latent[2]: [w,h] of *out, malloced, NULL where all of the picture counts. */
int mask_read(const char *name, const void *bytes, size_t n, const int size[2], const int latent[2], float **out, struct error *e) MUST_CHECK;

/* [h,w] of the mirrored picture, malloced */
float *mask_mirrored(const float *mask, int w, int h);

#endif
