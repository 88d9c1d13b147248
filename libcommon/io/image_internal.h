/*
 * image_internal.h - between image.c and the codecs (png.c, jpeg.c, webp.c, heif.c), exif.c and icc.c.
 *
 * A codec reads its header, fills in the upper half of struct decoder, calls rows_begin() and hands over each row once.
 * Colour, transparency, 16 bit and orientation happen on the way into the picture, so no second copy of it exists.
 */
#ifndef IO_IMAGE_INTERNAL_H
#define IO_IMAGE_INTERNAL_H

#include "image.h"

#define IMAGE_MAX_SIDE 65535
#define IMAGE_MAX_SCANS 100
#define ICC_MAX (4u << 20)
#define EXIF_MAX (64u << 10)

enum pixels { PIXELS_GREY, PIXELS_GREY_ALPHA, PIXELS_RGB, PIXELS_RGBA, PIXELS_CMYK };   /* CMYK: 255 is full ink */

struct colour;

struct decoder {
	const char *name;
	const uint8_t *bytes;
	size_t n;
	const struct image_options *options;
	struct image *out;
	struct error *e;

	/* The header's facts, filled in by the codec.  Width and height as stored, before orientation. */
	int width, height;
	int full_width, full_height;    /* as the file has it, where the codec made it smaller */
	int shrunk;
	enum pixels pixels;
	int depth;                      /* 8, or 16 in the machine's byte order */
	int orientation;
	bool animated;
	bool over_limit;                /* set before a cap refuses the picture */
	bool unreadable;                /* what reads this type is missing */
	const uint8_t *icc;             /* the codec's memory, read by rows_begin() only */
	size_t icc_bytes;

	/* private to image.c */
	bool knows_enough;              /* nobody wants the rows */
	struct colour *colour;
	uint8_t *line;
	ptrdiff_t origin, x_step, y_step;
};

/* Refuse by the sizes that a header claims; fills in width and height. */
int decoder_size(struct decoder *d, uint64_t width, uint64_t height) MUST_CHECK;
/* 8, 4, 2 or 1: the picture may be made that many times smaller, says the reader.  The codec then changes width and height. */
int decoder_shrink(struct decoder *d);
/* The header is read: true where that was all, and the codec stops with -1. */
bool decoder_knows_enough(struct decoder *d);
/* Allocate the picture.  After it only the rows are missing. */
int rows_begin(struct decoder *d) MUST_CHECK;
void rows_put(struct decoder *d, int y, const void *row);
/* The picture's own rows, where rows_put() would copy 8-bit RGB as it is; else NULL. */
uint8_t *rows_direct(const struct decoder *d);
int channels_of(enum pixels p);

/* Each returns 0 after every row was put, -1 with d->e filled in; image.c frees the picture. */
int png_decode(struct decoder *d) MUST_CHECK;
int jpeg_decode(struct decoder *d) MUST_CHECK;
int webp_decode(struct decoder *d) MUST_CHECK;
int heif_decode(struct decoder *d) MUST_CHECK;

/* NULL when the profile is absent, damaged, for other pixels, or means sRGB: then the values are taken as sRGB. */
struct colour *colour_open(const void *icc, size_t n, enum pixels p, int depth);
void colour_row(struct colour *c, const void *row, uint8_t *rgb, int width);
void colour_close(struct colour *c);            /* accepts NULL */

#endif
