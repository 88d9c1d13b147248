/*
 * bucket.h - the size at which a picture is trained, by kohya's arithmetic, in the same doubles and the same order.
 *
 * A bucket is a size [w,h] with sides that are multiples of a step; a picture goes into the bucket nearest to its
 * ratio.  Owns the list of buckets, the choice among them, the size after resizing, the centre crop, and both ways to
 * tell training about the crop.  Must not know pixels or files.
 */
#ifndef DATA_BUCKET_H
#define DATA_BUCKET_H

#include <stdbool.h>
#include <stddef.h>
#include "../base/error.h"

struct bucket_rules {
	long resolution[2];             /* [w,h]; their product is the largest area of a bucket */
	long min, max, steps;
	bool enabled;                   /* false: one bucket, the resolution itself */
	bool no_upscale;                /* a small picture keeps its size; min and max are then ignored */
};

struct buckets {
	struct bucket_rules rules;      /* min and max rounded to steps: min down, max up */
	int (*size)[2];                 /* sorted [w,h] */
	size_t count;
};

enum bucket_filter { FILTER_NONE, FILTER_AREA, FILTER_LANCZOS };

struct placement {
	int bucket[2];                  /* [w,h] */
	int resized[2];                 /* the whole picture before the crop; never below the bucket */
	int crop[2];                    /* [left,top] of the bucket inside the resized picture, in pixels */
	double fit[4];                  /* kohya's crop_ltrb: the whole picture fitted into the bucket */
	enum bucket_filter filter;
};

/* The rows of an option table (config/options.h) that fill *r.  lora-prep crops by them, and lora-train --plan counts
 * by them. */
#define BUCKET_OPTION_ROWS(r, seldom) \
	{ "resolution", 0, OPTION_SIZE, (r)->resolution, "N|W,H", "area of every bucket", \
	  .fallback = "1024", .min = 8, .max = 16384, .advanced = seldom, .identity = IDENTITY_ELSEWHERE }, \
	{ "bucket", 0, OPTION_FLAG, &(r)->enabled, NULL, "one size for all pictures", \
	  .fallback = "true", .key = "enable_bucket", .advanced = seldom, .identity = IDENTITY_ELSEWHERE }, \
	{ "min-bucket-reso", 0, OPTION_INT, &(r)->min, "N", "shortest side of a bucket", \
	  .fallback = "256", .min = 8, .max = 16384, .advanced = seldom, \
	  .needs = "enable_bucket", .identity = IDENTITY_ELSEWHERE }, \
	{ "max-bucket-reso", 0, OPTION_INT, &(r)->max, "N", "longest side of a bucket", \
	  .fallback = "2048", .min = 8, .max = 16384, .advanced = seldom, \
	  .needs = "enable_bucket", .identity = IDENTITY_ELSEWHERE }, \
	{ "bucket-reso-steps", 0, OPTION_INT, &(r)->steps, "N", "sides of buckets are multiples of this", \
	  .fallback = "64", .min = 8, .max = 4096, .advanced = seldom, \
	  .needs = "enable_bucket", .identity = IDENTITY_ELSEWHERE }, \
	{ "bucket-no-upscale", 0, OPTION_FLAG, &(r)->no_upscale, NULL, "never enlarge a picture", \
	  .advanced = seldom, .needs = "enable_bucket", .identity = IDENTITY_ELSEWHERE }

/* EXIT_USAGE when the rules leave no size. */
int buckets_make(const struct bucket_rules *rules, struct buckets *b, struct error *e) MUST_CHECK;
void buckets_free(struct buckets *b);

/* EXIT_INPUT when a picture of this shape fits no bucket (only with no_upscale). */
int bucket_place(const struct buckets *b, int width, int height, struct placement *p, struct error *e) MUST_CHECK;

/* The crop of the size conditioning, [left,top], of the picture or of its mirror image: the pixels really cut, or
 * kohya's formula, which does not tell where kohya cuts. */
void conditioning_crop(const struct placement *p, bool kohya, bool mirrored, int crop[2]);

#endif
