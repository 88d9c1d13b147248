/* Holes for inpainting: drawn, cut out of pictures, made as small as latents. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "../base/elementary.h"
#include "../base/memory.h"
#include "../base/philox.h"
#include "hole.h"

struct canvas { uint8_t *mask; int w, h; };

/* Numbers of one hole, one after the other. */
struct draws { float x[64]; int next; };

static double between(struct draws *d, double low, double high)
{
	return low + (high - low) * d->x[d->next++ % 64];
}

/* ---- shapes ---- */

struct box { double left, top, w, h; };

/* A tenth to a half of each side, somewhere within */
static struct box draw_box(struct draws *d, const struct canvas *c)
{
	struct box b = { .w = c->w * between(d, 0.1, 0.5), .h = c->h * between(d, 0.1, 0.5) };

	b.left = between(d, 0, c->w - b.w);
	b.top = between(d, 0, c->h - b.h);
	return b;
}

static void fill_shape(struct canvas *c, struct draws *d)
{
	const bool ellipse = between(d, 0, 1) < 0.5;
	const struct box b = draw_box(d, c);

	for (int y = 0; y < c->h; y++)
		for (int x = 0; x < c->w; x++) {
			const double u = (x + 0.5 - b.left) / b.w * 2 - 1, v = (y + 0.5 - b.top) / b.h * 2 - 1;

			if (ellipse ? u * u + v * v <= 1 : fabs(u) <= 1 && fabs(v) <= 1)
				c->mask[y * c->w + x] = 255;
		}
}

#define CORNERS_MOST 8

/* Whether a line to the right crosses the border an odd number of times */
static bool inside(const double (*corner)[2], int n, double x, double y)
{
	bool in = false;

	for (int i = 0, k = n - 1; i < n; k = i++) {
		const double *a = corner[i], *b = corner[k];

		if ((a[1] > y) != (b[1] > y) && x < a[0] + (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]))
			in = !in;
	}
	return in;
}

static void fill_polygon(struct canvas *c, struct draws *d)
{
	const struct box b = draw_box(d, c);
	const int n = 3 + (int)between(d, 0, CORNERS_MOST - 2);
	double corner[CORNERS_MOST + 1][2];

	for (int i = 0; i < n; i++) {
		const double angle = 2 * M_PI * (i + between(d, 0, 0.8)) / n, far = between(d, 0.5, 1);

		corner[i][0] = b.left + b.w / 2 * (1 + far * plain_cos(angle));
		corner[i][1] = b.top + b.h / 2 * (1 + far * plain_sin(angle));
	}
	for (int y = 0; y < c->h; y++)
		for (int x = 0; x < c->w; x++)
			if (inside(corner, n, x + 0.5, y + 0.5))
				c->mask[y * c->w + x] = 255;
}

/* ---- clouds ---- */

#define OCTAVES 4
#define COARSEST 4                      /* cells a side of the first octave */

static void add_octave(float *sum, const struct canvas *c, const struct random *r, int octave)
{
	const int n = COARSEST << octave;
	struct random draw = *r;
	float *grid = xmalloc((size_t)(n + 1) * (n + 1) * sizeof(*grid));

	draw.item += (uint32_t)(1 + octave) << 24;
	random_normal(&draw, grid, (size_t)(n + 1) * (n + 1));
	for (int y = 0; y < c->h; y++)
		for (int x = 0; x < c->w; x++) {
			const double u = (double)x * n / c->w, v = (double)y * n / c->h, a = u - (int)u, b = v - (int)v;
			const float *g = grid + (int)v * (n + 1) + (int)u;
			const double top = g[0] * (1 - a) + g[1] * a, bottom = g[n + 1] * (1 - a) + g[n + 2] * a;

			sum[y * c->w + x] += (top * (1 - b) + bottom * b) / (1 << octave);
		}
	free(grid);
}

static int by_value(const void *a, const void *b)
{
	const float x = *(const float *)a, y = *(const float *)b;

	return x < y ? -1 : x > y;
}

/* What is above the noise's own quantile: a tenth to three tenths of the picture */
static void fill_cloud(struct canvas *c, struct draws *d, const struct random *r)
{
	const size_t n = (size_t)c->w * c->h;
	const double covered = between(d, 0.1, 0.3);
	float *sum = xcalloc(n, sizeof(*sum)), *sorted = xmalloc(n * sizeof(*sorted)), edge;

	for (int i = 0; i < OCTAVES; i++)
		add_octave(sum, c, r, i);
	memcpy(sorted, sum, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_value);
	edge = sorted[(size_t)((n - 1) * (1 - covered))];
	for (size_t i = 0; i < n; i++)
		if (sum[i] > edge)
			c->mask[i] = 255;
	free(sum);
	free(sorted);
}

/* ---- all of it ---- */

void hole_draw(uint8_t *mask, int w, int h, uint64_t seed, uint32_t picture, uint32_t which)
{
	const struct random r = { seed, RANDOM_HOLE, picture, which };
	struct canvas c = { mask, w, h };
	struct draws d = { .next = 0 };
	double kind;

	random_uniforms(&r, d.x, sizeof(d.x) / sizeof(*d.x), 0, 1);
	memset(mask, 0, (size_t)w * h);
	kind = between(&d, 0, 1);
	if (kind < 0.4) {
		fill_cloud(&c, &d, &r);
		if (between(&d, 0, 3) < 1)
			fill_shape(&c, &d);
	} else if (kind < 0.75) {
		fill_polygon(&c, &d);
		if (between(&d, 0, 2) < 1)
			fill_polygon(&c, &d);
	} else {
		fill_shape(&c, &d);
	}
}

void hole_cut(float *rgb, const uint8_t *mask, size_t pixels)
{
	for (size_t i = 0; i < pixels; i++)
		if (mask[i] >= HOLE_EDGE)
			rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = 0;
}

void hole_shrink(float *out, int w, int h, int factor, const uint8_t *mask)
{
	for (int y = 0; y < h; y++)
		for (int x = 0; x < w; x++)
			out[y * w + x] = mask[(size_t)y * factor * w * factor + x * factor] >= HOLE_EDGE;
}

void hole_mirror(uint8_t *mask, int w, int h)
{
	for (int y = 0; y < h; y++)
		for (int x = 0; x < w / 2; x++) {
			uint8_t *a = mask + (size_t)y * w + x, *b = mask + (size_t)y * w + w - 1 - x, keep = *a;

			*a = *b;
			*b = keep;
		}
}
