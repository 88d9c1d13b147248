/* Resizing in two passes of integer arithmetic: area, Lanczos, bicubic, bilinear, nearest. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/cpu.h"
#include "../base/elementary.h"
#include "resample_loops.h"

static double lanczos3(double x)
{
	if (x == 0)
		return 1;
	if (x <= -3 || x >= 3)
		return 0;
	return 3 * plain_sin(M_PI * x) * plain_sin(M_PI * x / 3) / (M_PI * M_PI * x * x);
}

static double bicubic(double x)
{
	x = fabs(x);
	if (x < 1)
		return (1.5 * x - 2.5) * x * x + 1;
	return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

static double bilinear(double x)
{
	return fabs(x) < 1 ? 1 - fabs(x) : 0;
}

/* Precision of the pixels between the two passes.  The filters have whole levels there, clipped, because Pillow does
 * (an overshoot that is clipped after the first pass cannot ring in the second); averages have six bits more. */
static const struct kind {
	const char *name, *synonym;
	struct pass_bits bits;
	double reach;                   /* of the filter, in pixels of the coarser picture */
	double (*weight)(double x);
} kinds[] = {
	[RESAMPLE_LANCZOS] = { "lanczos", "lanczos4", { 0, 22, 22 }, 3, lanczos3 },
	[RESAMPLE_AREA] = { "area", "box", { 6, 22, 16 } },
	[RESAMPLE_BICUBIC] = { "bicubic", "cubic", { 0, 22, 22 }, 2, bicubic },
	[RESAMPLE_BILINEAR] = { "bilinear", "linear", { 0, 22, 22 }, 1, bilinear },
	[RESAMPLE_NEAREST] = { "nearest", "nearest", { 0, 22, 22 } },
};

bool resample_find(const char *name, enum resample_filter *filter)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(name, kinds[i].name) || !strcmp(name, kinds[i].synonym)) {
			*filter = (enum resample_filter)i;
			return true;
		}
	return false;
}

struct names resample_names(void)
{
	return NAMES_OF(kinds, ", ", " and ");
}

const char *resample_choices(void)
{
	enum { KINDS = sizeof(kinds) / sizeof(*kinds) };
	static struct names names;
	const char *all[2 * KINDS];
	size_t n = KINDS;

	for (size_t i = 0; i < KINDS; i++) {
		all[i] = kinds[i].name;
		if (strcmp(kinds[i].synonym, kinds[i].name))
			all[n++] = kinds[i].synonym;
	}
	names = names_joined(all, sizeof(*all), n, "|", "|");
	return names.text;
}

const char *resample_name(enum resample_filter filter)
{
	return kinds[filter].name;
}

/* A side of the source: its pixels, the beginning of the part that is resized, and how many pixels of it make one pixel
 * of the result. */
struct side { int pixels; double start, scale; };

static void span(enum resample_filter filter, int position, const struct side *s, int *first, int *end)
{
	double from, to;

	if (filter == RESAMPLE_AREA) {
		from = floor(s->start + position * s->scale);
		to = ceil(s->start + (position + 1) * s->scale);
	} else if (filter == RESAMPLE_NEAREST) {
		from = floor(s->start + (position + 0.5) * s->scale);
		to = from + 1;
	} else {
		double centre = s->start + (position + 0.5) * s->scale,
			reach = kinds[filter].reach * (s->scale > 1 ? s->scale : 1);
		from = centre - reach + 0.5;
		to = centre + reach + 0.5;
	}
	*first = from < 0 ? 0 : (int)from;
	*end = to > s->pixels ? s->pixels : (int)to;
	if (*first >= s->pixels)
		*first = s->pixels - 1;
	if (*end <= *first)
		*end = *first + 1;
}

static double weight_at(enum resample_filter filter, int position, const struct side *s, int x)
{
	if (filter == RESAMPLE_NEAREST)
		return 1;
	if (filter == RESAMPLE_AREA) {
		double low = s->start + position * s->scale, high = s->start + (position + 1) * s->scale;
		double share = (x + 1 < high ? x + 1 : high) - (x > low ? x : low);
		return share > 0 ? share : 0;
	}
	return kinds[filter].weight((x - s->start - (position + 0.5) * s->scale + 0.5) / (s->scale > 1 ? s->scale : 1));
}

/* Rounds the weights of one output pixel.  The largest gets the sum of the rounding errors,
 * so that white stays white. */
static void quantise(const double *exact, int count, int bits, int32_t *weight)
{
	double sum = 0;
	int largest = 0;
	int32_t rest = (int32_t)1 << bits;

	for (int k = 0; k < count; k++)
		sum += exact[k];
	for (int k = 0; k < count; k++) {
		weight[k] = (int32_t)floor(exact[k] / sum * ((int32_t)1 << bits) + 0.5);
		rest -= weight[k];
		if (exact[k] > exact[largest])
			largest = k;
	}
	weight[largest] += rest;
}

/* The weights for output pixels start .. start + n. */
static struct weights make_weights(enum resample_filter filter, const struct side *s, int start, int n, int bits)
{
	double scale = s->scale;
	struct weights w = { .taps = 2 * (int)ceil(3 * (scale > 1 ? scale : 1)) + 2 };
	double *exact = xmalloc(w.taps * sizeof(*exact));

	w.first = xmalloc(n * sizeof(*w.first));
	w.count = xmalloc(n * sizeof(*w.count));
	w.weight = xcalloc((size_t)n * w.taps, sizeof(*w.weight));
	for (int i = 0; i < n; i++) {
		int end;
		span(filter, start + i, s, &w.first[i], &end);
		w.count[i] = end - w.first[i];
		for (int k = 0; k < w.count[i]; k++)
			exact[k] = weight_at(filter, start + i, s, w.first[i] + k);
		quantise(exact, w.count[i], bits, w.weight + (size_t)i * w.taps);
	}
	free(exact);
	return w;
}

static void free_weights(struct weights *w)
{
	free(w->first);
	free(w->count);
	free(w->weight);
}

static int clip(int v, int top)
{
	return v < 0 ? 0 : v > top ? top : v;
}

static void across(const struct weights *w, const uint8_t *row, int n, const struct pass_bits *b, uint16_t *out)
{
	int shift = b->across - b->between, top = 255 << b->between;

	for (int i = 0; i < n; i++, out += 3) {
		const int32_t *weight = w->weight + (size_t)i * w->taps;
		const uint8_t *p = row + 3 * (size_t)w->first[i];
		int32_t sum[3] = { 1 << (shift - 1), 1 << (shift - 1), 1 << (shift - 1) };

		for (int k = 0; k < w->count[i]; k++, p += 3)
			for (int c = 0; c < 3; c++)
				sum[c] += p[c] * weight[k];
		for (int c = 0; c < 3; c++)
			out[c] = (uint16_t)clip(sum[c] >> shift, top);
	}
}

static void down(const uint16_t *const *row, const int32_t *weight, int count, int values, const struct pass_bits *b,
		 uint8_t *out)
{
	int shift = b->down + b->between;

	for (int v = 0; v < values; v++) {
		int32_t sum = 1 << (shift - 1);
		for (int k = 0; k < count; k++)
			sum += row[k][v] * weight[k];
		out[v] = (uint8_t)clip(sum >> shift, 255);
	}
}

const struct resample_loops resample_portable = { across, down };

static const struct resample_loops *best_loops(void)
{
#ifdef __x86_64__
	if (cpu_has_avx2())
		return &resample_avx2;
#endif
	return &resample_portable;
}

/* A ring buffer holds the `taps` rows between the passes that one output row needs.  Each has RESAMPLE_ROOM spare
 * values behind it, which the vector loops may touch. */
void resample_by(const struct resample_loops *loops, const struct image *in, const struct image_part *part, int width,
		 int height, enum resample_filter filter, struct window window, struct image *out)
{
	const struct pass_bits *b = &kinds[filter].bits;
	const struct side wide = { in->width, part->left, part->width / width },
		high = { in->height, part->top, part->height / height };
	struct weights x = make_weights(filter, &wide, window.left, window.width, b->across);
	struct weights y = make_weights(filter, &high, window.top, window.height, b->down);
	int values = window.width * 3, stride = values + RESAMPLE_ROOM, done = y.first[0];
	uint16_t *ring = xcalloc((size_t)y.taps * stride, sizeof(*ring));
	const uint16_t **row = xmalloc(y.taps * sizeof(*row));

	*out = (struct image){ window.width, window.height, xmalloc((size_t)values * window.height) };
	for (int i = 0; i < window.height; i++) {
		for (; done < y.first[i] + y.count[i]; done++)
			(done + 1 < in->height ? loops : &resample_portable)
				->across(&x, in->rgb + (size_t)done * in->width * 3, window.width, b,
					 ring + (size_t)(done % y.taps) * stride);
		for (int k = 0; k < y.count[i]; k++)
			row[k] = ring + (size_t)((y.first[i] + k) % y.taps) * stride;
		loops->down(row, y.weight + (size_t)i * y.taps, y.count[i], values, b, out->rgb + (size_t)i * values);
	}
	free(ring);
	free(row);
	free_weights(&x);
	free_weights(&y);
}

void resample_part(const struct image *in, const struct image_part *part, int width, int height,
		   enum resample_filter filter, struct window window, struct image *out)
{
	resample_by(best_loops(), in, part, width, height, filter, window, out);
}

void resample(const struct image *in, int width, int height, enum resample_filter filter, struct window window,
	      struct image *out)
{
	resample_part(in, &(struct image_part){ 0, 0, in->width, in->height }, width, height, filter, window, out);
}

void mirror(struct image *i)
{
	for (int y = 0; y < i->height; y++) {
		uint8_t *left = i->rgb + (size_t)y * i->width * 3, *right = left + 3 * (size_t)(i->width - 1);
		for (; left < right; left += 3, right -= 3) {
			uint8_t swap[3];
			memcpy(swap, left, 3);
			memcpy(left, right, 3);
			memcpy(right, swap, 3);
		}
	}
}
