/*
 * resample.h - pictures to another size: area averages when shrinking, Lanczos with three lobes otherwise.
 *
 * Integer arithmetic in a fixed order, so every machine and every number of threads gives the same bytes.  Lanczos
 * rounds where Pillow rounds; area is within a level of OpenCV's.  Must not know buckets.
 */
#ifndef DATA_RESAMPLE_H
#define DATA_RESAMPLE_H

#include "../io/image.h"

enum resample_filter { RESAMPLE_AREA, RESAMPLE_LANCZOS };

struct window { int left, top, width, height; };

/* The window of what `in` would be at width x height; only its pixels are computed.  out is malloced. */
void resample(const struct image *in, int width, int height, enum resample_filter filter, struct window window,
	      struct image *out);
/* The same of a part of the picture, which may end within a pixel. */
void resample_part(const struct image *in, const struct image_part *part, int width, int height, enum resample_filter filter,
		   struct window window, struct image *out);
void mirror(struct image *i);           /* left becomes right, in place */

#endif
