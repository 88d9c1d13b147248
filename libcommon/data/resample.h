/*
 * resample.h - resizes pictures, by averages over areas or by one of the usual filters.
 *
 * Integer arithmetic in a fixed order gives the same bytes on every machine and with any number of threads.  The
 * filters are Pillow's: they widen when shrinking, and round where Pillow rounds.  Area is within one level of
 * OpenCV's.  Must not know buckets.
 */
#ifndef DATA_RESAMPLE_H
#define DATA_RESAMPLE_H

#include <stdbool.h>
#include "../base/names.h"
#include "../io/image.h"

enum resample_filter { RESAMPLE_LANCZOS, RESAMPLE_AREA, RESAMPLE_BICUBIC, RESAMPLE_BILINEAR, RESAMPLE_NEAREST };

struct names resample_names(void);                                      /* for messages */
/* kohya's names and their synonyms, for an option */
const char *resample_choices(void);
bool resample_find(const char *name, enum resample_filter *filter);     /* false: no such name */
const char *resample_name(enum resample_filter filter);

struct window { int left, top, width, height; };

/* Resizes `in` to width x height and cuts out the window; only pixels of the window are computed.  out is malloced. */
void resample(const struct image *in, int width, int height, enum resample_filter filter, struct window window,
	      struct image *out);
/* The same for a part of the picture, whose edges may lie within pixels. */
void resample_part(const struct image *in, const struct image_part *part, int width, int height,
		   enum resample_filter filter, struct window window, struct image *out);
void mirror(struct image *i);           /* left becomes right, in place */

#endif
