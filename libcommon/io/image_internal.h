/*
 * image_internal.h - shared by image.c, the codecs (png.c, jpeg.c, webp.c, bmp.c, heif.c), exif.c and icc.c.
 *
 * A codec reads its header, fills in the upper half of struct decoder, calls rows_begin() and hands over each row once.
 * rows_put() applies colour profile, transparency, 16 bit to 8 and orientation as it stores a row, so that no second
 * copy of the picture exists.
 */
#ifndef IO_IMAGE_INTERNAL_H
#define IO_IMAGE_INTERNAL_H

#include "image.h"

#define IMAGE_MAX_SIDE 65535
#define IMAGE_MAX_SCANS 100
#define ICC_MAX (4u << 20)
#define EXIF_MAX (64u << 10)
/* Decoding may take four bytes a pixel and this much more; with the memory of an idle program that makes 64 MiB. */
#define IMAGE_SPARE (48u << 20)

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
	bool stretched;                 /* by making it smaller: no last column stands for less than a whole one */
	enum pixels pixels;
	int depth;                      /* 8, or 16 in the machine's byte order */
	int orientation;
	bool animated;
	bool over_limit;                /* set before a cap refuses the picture */
	bool unreadable;                /* the library that reads this type is not installed */
	const uint8_t *icc;             /* the codec's memory, read by rows_begin() only */
	size_t icc_bytes;

	/* private to image.c */
	bool knows_enough;              /* only the header is wanted */
	struct colour *colour;
	uint8_t *line, *whole;
	bool grown;                     /* out->rgb was enlarged for rows_whole() */
	ptrdiff_t origin, x_step, y_step;
};

/* Refuse by the sizes that a header claims; fills in width and height. */
int decoder_size(struct decoder *d, uint64_t width, uint64_t height) MUST_CHECK;
uint64_t decoder_most_pixels(const struct decoder *d);          /* that a picture may have */
/* By how much the reader allows the picture to be made smaller: 8, 4, 2 or 1 times.  The codec then changes width and
 * height.  `codec`: as below. */
int decoder_shrink(struct decoder *d, uint64_t codec);
/* Called when the header is read.  True: that was all the caller wants, and the codec stops with -1. */
bool decoder_knows_enough(struct decoder *d);
/* Do the picture and `codec` bytes of the codec's own fit into four bytes a pixel of the file and IMAGE_SPARE? */
bool decoder_has_room(const struct decoder *d, uint64_t codec);
/* The same, as a refusal; kind and advice are for the message. */
int decoder_room(struct decoder *d, uint64_t codec, const char *kind, const char *advice) MUST_CHECK;
/* Allocates the picture.  Afterwards only the rows are missing. */
int rows_begin(struct decoder *d) MUST_CHECK;
void rows_put(struct decoder *d, int y, const void *row);
/* The pixels first, first + step, ... of a row. */
void rows_put_some(struct decoder *d, int y, int first, int step, const void *pixels);
/* For a library that writes all of a picture's 8-bit pixels at once: zeroed memory, from which rows_put_whole() takes
 * them.  It is the picture's own memory where possible.  NULL: no memory. */
uint8_t *rows_whole(struct decoder *d);
void rows_put_whole(struct decoder *d);
int channels_of(enum pixels p);

/* Each returns 0 after every row was put, -1 with d->e filled in; image.c frees the picture. */
int png_decode(struct decoder *d) MUST_CHECK;
int jpeg_decode(struct decoder *d) MUST_CHECK;
int webp_decode(struct decoder *d) MUST_CHECK;
int bmp_decode(struct decoder *d) MUST_CHECK;
int heif_decode(struct decoder *d) MUST_CHECK;

/* NULL when the profile is absent, damaged, for other pixels, or means sRGB: then the values are taken as sRGB. */
struct colour *colour_open(const void *icc, size_t n, enum pixels p, int depth);
void colour_row(struct colour *c, const void *row, uint8_t *rgb, int width);
void colour_close(struct colour *c);            /* accepts NULL */

#endif
