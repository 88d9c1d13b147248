/*
 * image.h - pictures in memory, and reading PNG, JPEG, WebP and BMP, and writing the first two.
 *
 * Reading decides the type by content, applies Exif orientation and ICC profile (to sRGB), scales 16 bit to 8, and lays
 * transparency on a background.  It refuses from the header alone what is over the caps (100 Mpx, side 65,535, 100 JPEG
 * scans, ICC 4 MiB, Exif 64 KiB, text 1 MiB), and what would take more than 4 bytes a pixel and 64 MiB to decode.  Must
 * not know data sets or buckets.
 */
#ifndef IO_IMAGE_H
#define IO_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../base/error.h"
#include "../base/memory.h"

struct image {
	int width, height;
	uint8_t *rgb;                   /* [height][width][3], sRGB, malloced */
	uint8_t *alpha;                 /* [height][width], malloced; NULL: opaque, or nobody asked for it */
};

struct image_options {
	uint8_t background[3];          /* under transparency */
	bool keep_alpha;                /* and hand transparency over as well */
	uint64_t max_pixels;            /* 0: 100,000,000 */
	bool only_size;                 /* the header is enough: *info is filled in, *out stays empty */
	bool libheif;                   /* HEIC and AVIF too, where that library is installed */
	/* Sets least[] to the size that its reader needs of an upright picture of width x height.  JPEG is then decoded
	 * at a half, a quarter or an eighth, never below that size; WebP only where it would take too much memory.
	 * NULL: every pixel is wanted. */
	void (*enough)(const void *context, int width, int height, int least[2]);
	const void *context;
	bool every_pixel;               /* decode smaller only where full size takes too much memory */
};

/* In pixels of the picture in memory; edges may lie within one. */
struct image_part { double left, top, width, height; };

struct image_info {
	/* "JPEG", "PNG", "WebP", "BMP", "HEIC", "AVIF"; unchanged where the type is not read */
	const char *format;
	/* upright, that is after Exif orientation; of the file, not of what `enough` left */
	int width, height;
	int orientation;                /* 1..8 as found */
	/* the part of the picture in memory that shows the file's pixels: after `enough` the last column or row
	 * (turned by Exif: the first) may stand for less than a whole one.  Who takes it for a whole one squeezes the
	 * picture by up to a pixel. */
	struct image_part part;
	bool animated;                  /* only the first frame was read */
	bool over_limit;                /* after a failure too: refused for its size, not for damage */
};

/* name is for messages.  info may be NULL.  e->code is EXIT_INPUT for a bad picture. */
int image_decode(const char *name, const void *bytes, size_t n, const struct image_options *o, struct image *out,
		 struct image_info *info, struct error *e) MUST_CHECK;
int image_read(const char *path, const struct image_options *o, struct image *out, struct image_info *info,
	       struct error *e) MUST_CHECK;
/* Reads the header alone into *info, without decoding and, where possible, without reading the rest of the file. */
int image_read_size(const char *path, const struct image_options *o, struct image_info *info,
		    struct error *e) MUST_CHECK;
/* The type by the first bytes: "JPEG", "PNG", "WebP", "BMP".  For others NULL, with a name ("GIF", "HEIC", ...) in
 * *other; NULL in both where it is no picture. */
const char *image_type(const void *bytes, size_t n, const char **other);
void image_free(struct image *i);

struct png_text { const char *key, *value; };   /* Latin-1 goes into tEXt, anything else into iTXt */
void png_encode(struct buffer *out, const struct image *i, const struct png_text *text, int texts);
void png_encode_grey(struct buffer *out, const uint8_t *grey, int width, int height);
void jpeg_encode(struct buffer *out, const struct image *i, int quality);       /* 4:4:4 at quality >= 90 */
/* The value of a text chunk (malloced), NULL when absent or no PNG. */
char *png_read_text(const void *bytes, size_t n, const char *key);

/* Orientation (1..8) from Exif bytes ("II*\0" or "MM\0*" onwards, with or without "Exif\0\0");
 * 1 when absent or damaged. */
int exif_orientation(const uint8_t *bytes, size_t n);

#endif
