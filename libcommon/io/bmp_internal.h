/*
 * bmp_internal.h - shared by bmp.c, which reads a BMP's headers and plain rows, and bmp_rle.c, which reads run-length
 * coded ones.
 */
#ifndef IO_BMP_INTERNAL_H
#define IO_BMP_INTERNAL_H

#include "image_internal.h"

struct bmp_channel { int shift; uint32_t most; };       /* most 0: the picture has none */

struct bmp {
	int bits, compression;
	bool top_down;
	size_t pixels;                  /* where they begin in the file */
	uint8_t palette[256][3];        /* RGB; indices beyond the file's own are black */
	struct bmp_channel channel[4];  /* red, green, blue, alpha; of 16 and 32 bits */
	uint8_t *row;                   /* of PIXELS_RGB or PIXELS_RGBA, what rows_put() takes */
};

/* The row of the picture that is row y of the file. */
static inline int bmp_row(const struct bmp *b, const struct decoder *d, int y)
{
	return b->top_down ? y : d->height - 1 - y;
}

/* Decodes RLE4 and RLE8.  Skipped pixels have the colour 0; runs that reach beyond a row are cut off. */
int bmp_rle(struct decoder *d, const struct bmp *b) MUST_CHECK;

#endif
