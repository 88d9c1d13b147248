/*
 * resample.h - pictures to another size: averages over areas, or one of the usual filters.
 *
 * Integer arithmetic in a fixed order, so every machine and every number of threads gives the same bytes.  The filters are
 * Pillow's, which widen when shrinking, and round where Pillow rounds; area is within a level of OpenCV's.  Must not know buckets.
 */
#ifndef DATA_RESAMPLE_H
#define DATA_RESAMPLE_H

#include <stdbool.h>
#include "../io/image.h"

enum resample_filter { RESAMPLE_AREA, RESAMPLE_LANCZOS, RESAMPLE_BICUBIC, RESAMPLE_BILINEAR, RESAMPLE_NEAREST };

/* kohya's names and their synonyms, for an option. */
#define RESAMPLE_NAMES "lanczos|area|bicubic|bilinear|nearest|lanczos4|box|cubic|linear"
bool resample_find(const char *name, enum resample_filter *filter);     /* false: no such name */
const char *resample_name(enum resample_filter filter);

struct window { int left, top, width, height; };

/* The window of what `in` would be at width x height; only its pixels are computed.  out is malloced. */
void resample(const struct image *in, int width, int height, enum resample_filter filter, struct window window,
	      struct image *out);
/* The same of a part of the picture, which may end within a pixel. */
void resample_part(const struct image *in, const struct image_part *part, int width, int height, enum resample_filter filter,
		   struct window window, struct image *out);
void mirror(struct image *i);           /* left becomes right, in place */

#endif
