/*
 * hole.h - holes in pictures, which an inpainting model fills in: 1 where it paints.
 *
 * Owns how holes are drawn, cut out of pixels and shrunk to latents.  Must not know networks.
 */
#ifndef DATA_HOLE_H
#define DATA_HOLE_H

#include <stddef.h>
#include <stdint.h>

#define HOLE_EDGE 128                   /* a mask's value from which on a pixel belongs to the hole: half of white */

/* Hole `which` of a picture [h,w], 0 or 255, a pure function of (seed, picture, which): clouds, polygons, rectangles
 * and ellipses with the probabilities of sd-scripts' train_inpainting. */
void hole_draw(uint8_t *mask, int w, int h, uint64_t seed, uint32_t picture, uint32_t which);
/* The picture [pixels][3] in -1..1 with the hole in it: 0, mid grey. */
void hole_cut(float *rgb, const uint8_t *mask, size_t pixels);
/* The hole of the latent [h,w]: of each cell of factor x factor pixels the upper left one decides. */
void hole_shrink(float *out, int w, int h, int factor, const uint8_t *mask);
void hole_mirror(uint8_t *mask, int w, int h);

#endif
