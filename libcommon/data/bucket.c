/* Buckets: the list of sizes, and where a picture goes in one. */
#include <math.h>
#include <stdlib.h>
#include "../base/memory.h"
#include "bucket.h"

static int by_size(const void *a, const void *b)
{
	const int *x = a, *y = b;

	return x[0] != y[0] ? (x[0] > y[0]) - (x[0] < y[0]) : (x[1] > y[1]) - (x[1] < y[1]);
}

static void add_size(struct buckets *b, size_t *capacity, long w, long h)
{
	for (size_t i = 0; i < b->count; i++)
		if (b->size[i][0] == w && b->size[i][1] == h)
			return;
	GROW(b->size, b->count, *capacity);
	b->size[b->count][0] = (int)w;
	b->size[b->count][1] = (int)h;
	b->count++;
}

static void list_sizes(struct buckets *b)
{
	const struct bucket_rules *r = &b->rules;
	long area = r->resolution[0] * r->resolution[1];
	long square = (long)sqrt((double)area) / r->steps * r->steps;
	size_t capacity = 0;

	if (!r->enabled) {
		add_size(b, &capacity, r->resolution[0], r->resolution[1]);
		return;
	}
	if (square > 0)
		add_size(b, &capacity, square, square);
	for (long w = r->min; w <= r->max; w += r->steps) {
		long h = area / w / r->steps * r->steps;
		if (h > r->max)
			h = r->max;
		if (h < r->min || h == 0)
			continue;
		add_size(b, &capacity, w, h);
		add_size(b, &capacity, h, w);
	}
	qsort(b->size, b->count, sizeof(*b->size), by_size);
}

static int check(const struct bucket_rules *r, struct error *e)
{
	long small = r->resolution[0] < r->resolution[1] ? r->resolution[0] : r->resolution[1];
	long large = r->resolution[0] + r->resolution[1] - small;

	if (small < 1 || large > 65535 || r->steps < 1 || r->min < 1 || r->max < 1 || r->max > 65535)
		return fail(e, EXIT_USAGE, "resolution %ld,%ld with buckets %ld to %ld by %ld: sizes are 1 to 65535",
			    r->resolution[0], r->resolution[1], r->min, r->max, r->steps);
	if (!r->enabled || r->no_upscale)
		return 0;
	if (r->min > small)
		return fail(e, EXIT_USAGE, "--min-bucket-reso %ld is above the resolution's %ld; lower it", r->min,
			    small);
	if (r->max < large)
		return fail(e, EXIT_USAGE, "--max-bucket-reso %ld is below the resolution's %ld; raise it", r->max,
			    large);
	if (sqrt((double)(small * large)) < r->steps)
		return fail(e, EXIT_USAGE, "--bucket-reso-steps %ld is larger than the resolution; lower it", r->steps);
	return 0;
}

int buckets_make(const struct bucket_rules *rules, struct buckets *b, struct error *e)
{
	*b = (struct buckets){ .rules = *rules };
	if (check(rules, e) < 0)
		return -1;
	b->rules.min -= b->rules.min % b->rules.steps;
	if (b->rules.min == 0)
		b->rules.min = b->rules.steps;
	b->rules.max = (b->rules.max + b->rules.steps - 1) / b->rules.steps * b->rules.steps;
	list_sizes(b);
	return 0;
}

void buckets_free(struct buckets *b)
{
	free(b->size);
	*b = (struct buckets){ 0 };
}

/* The bucket of exactly this size, else the one with the nearest ratio of width to height, the first among equals. */
static const int *nearest(const struct buckets *b, int width, int height)
{
	double ratio = (double)width / height, best = INFINITY;
	const int *found = b->size[0];

	for (size_t i = 0; i < b->count; i++) {
		double error = fabs((double)b->size[i][0] / b->size[i][1] - ratio);
		if (b->size[i][0] == width && b->size[i][1] == height)
			return b->size[i];
		if (error < best) {
			best = error;
			found = b->size[i];
		}
	}
	return found;
}

static void cover(const int bucket[2], int width, int height, struct placement *p)
{
	double ratio = (double)width / height, scale;

	if (ratio > (double)bucket[0] / bucket[1])
		scale = (double)bucket[1] / height;
	else
		scale = (double)bucket[0] / width;
	p->bucket[0] = bucket[0];
	p->bucket[1] = bucket[1];
	p->resized[0] = (int)(width * scale + 0.5);
	p->resized[1] = (int)(height * scale + 0.5);
}

static long to_steps(double x, long steps)
{
	long n = (long)(x + 0.5);

	return n - n % steps;
}

/* Shrinks to the area with one side a multiple of the step: the side that keeps the ratio better.  False: a side would
 * vanish. */
static bool shrink(const struct bucket_rules *r, double ratio, int resized[2])
{
	double area = (double)(r->resolution[0] * r->resolution[1]), width = sqrt(area * ratio), height = area / width;
	long by_width[2], by_height[2];
	double width_error, height_error;

	by_width[0] = to_steps(width, r->steps);
	by_width[1] = to_steps(by_width[0] / ratio, r->steps);
	by_height[1] = to_steps(height, r->steps);
	by_height[0] = to_steps(by_height[1] * ratio, r->steps);
	if (!by_width[1] || !by_height[1])
		return false;
	width_error = fabs((double)by_width[0] / by_width[1] - ratio);
	height_error = fabs((double)by_height[0] / by_height[1] - ratio);
	if (width_error < height_error) {
		resized[0] = (int)by_width[0];
		resized[1] = (int)(by_width[0] / ratio + 0.5);
	} else {
		resized[0] = (int)(by_height[1] * ratio + 0.5);
		resized[1] = (int)by_height[1];
	}
	return true;
}

static int place_without_upscale(const struct bucket_rules *r, int width, int height, struct placement *p,
				 struct error *e)
{
	bool fits = true;

	p->resized[0] = width;
	p->resized[1] = height;
	if ((double)width * height > (double)(r->resolution[0] * r->resolution[1]))
		fits = shrink(r, (double)width / height, p->resized);
	for (int i = 0; i < 2; i++)
		p->bucket[i] = (int)(p->resized[i] - p->resized[i] % r->steps);
	if (!fits || !p->bucket[0] || !p->bucket[1])
		return fail(e, EXIT_INPUT,
			    "a picture of %dx%d pixels fits no bucket with steps of %ld; enlarge or crop it", width,
			    height, r->steps);
	return 0;
}

static void fit_inside(int width, int height, struct placement *p)
{
	double ratio = (double)width / height, w = p->bucket[0], h = p->bucket[1];

	if ((double)p->bucket[0] / p->bucket[1] > ratio)
		w = p->bucket[1] * ratio;
	else
		h = p->bucket[0] / ratio;
	p->fit[0] = floor((p->bucket[0] - w) / 2);
	p->fit[1] = floor((p->bucket[1] - h) / 2);
	p->fit[2] = p->fit[0] + w;
	p->fit[3] = p->fit[1] + h;
}

int bucket_place(const struct buckets *b, int width, int height, struct placement *p, struct error *e)
{
	*p = (struct placement){ 0 };
	if (b->rules.no_upscale && b->rules.enabled) {
		if (place_without_upscale(&b->rules, width, height, p, e) < 0)
			return -1;
	} else {
		cover(nearest(b, width, height), width, height, p);
	}
	for (int i = 0; i < 2; i++)
		p->crop[i] = (p->resized[i] - p->bucket[i]) / 2;
	fit_inside(width, height, p);
	if (p->resized[0] == width && p->resized[1] == height)
		p->filter = FILTER_NONE;
	else
		p->filter = p->resized[0] <= width && p->resized[1] <= height ? FILTER_AREA : FILTER_LANCZOS;
	return 0;
}

void conditioning_crop(const struct placement *p, bool kohya, bool mirrored, int crop[2])
{
	crop[1] = kohya ? (int)p->fit[1] : p->crop[1];
	if (!mirrored)
		crop[0] = kohya ? (int)p->fit[0] : p->crop[0];
	else if (kohya)
		crop[0] = (int)(p->bucket[0] - p->fit[2]);
	else
		crop[0] = p->resized[0] - p->bucket[0] - p->crop[0];
}
