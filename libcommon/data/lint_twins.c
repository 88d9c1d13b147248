/* Lint: duplicates, by hash of pixels and by difference hash. */
#include <stdlib.h>
#include <string.h>
#include "../base/hash.h"
#include "../base/map.h"
#include "lint_twins.h"
#include "resample.h"

enum { ACROSS = 9, DOWN = 8, EDGE = 3, EDGES_MIN = 8 };

struct seen { const char *path; struct fingerprint print; };

struct twins { struct seen *seen; size_t count, capacity; };

static void hash_pixels(const struct image *i, char hex[65])
{
	const int32_t size[2] = { i->width, i->height };
	struct sha256 s;

	sha256_begin(&s);
	sha256_add(&s, size, sizeof(size));
	sha256_add(&s, i->rgb, (size_t)i->width * i->height * 3);
	sha256_hex(&s, hex);
}

static int brightness(const struct image *i, int x, int y)
{
	const uint8_t *p = i->rgb + 3 * (y * i->width + x);

	return 299 * p[0] + 587 * p[1] + 114 * p[2];
}

static void hash_edges(const struct image *small, struct fingerprint *f)
{
	int edges = 0;

	f->bits = 0;
	for (int y = 0; y < DOWN; y++)
		for (int x = 1; x < ACROSS; x++) {
			int step = brightness(small, x, y) - brightness(small, x - 1, y);
			f->bits = f->bits << 1 | (step > 0);
			edges += abs(step) >= 1000 * EDGE;
		}
	f->flat = edges < EDGES_MIN;
}

void fingerprint_make(const struct image *i, struct fingerprint *f)
{
	struct image small;

	hash_pixels(i, f->pixels);
	resample(i, ACROSS, DOWN, RESAMPLE_AREA, (struct window){ 0, 0, ACROSS, DOWN }, &small);
	hash_edges(&small, f);
	image_free(&small);
}

struct twins *twins_new(void)
{
	return xcalloc(1, sizeof(struct twins));
}

void twins_free(struct twins *t)
{
	if (t)
		free(t->seen);
	free(t);
}

void twins_add(struct twins *t, const char *path, const struct fingerprint *f)
{
	GROW(t->seen, t->count, t->capacity);
	t->seen[t->count++] = (struct seen){ path, *f };
}

/* The nearest earlier picture; *distance says how near.  -1: none is near. */
static long near_one(const struct twins *t, size_t of, int *distance)
{
	const struct seen *me = &t->seen[of];
	long found = -1;

	*distance = TWINS_DISTANCE + 1;
	for (size_t i = 0; i < of && !me->print.flat; i++) {
		int d = __builtin_popcountll(t->seen[i].print.bits ^ me->print.bits);
		if (d < *distance && !t->seen[i].print.flat && strcmp(t->seen[i].path, me->path)) {
			*distance = d;
			found = (long)i;
		}
	}
	return found;
}

int twins_report(const struct twins *t, struct findings *f)
{
	struct map *pixels = map_new(t->count);
	int status = 0, distance;

	for (size_t i = 0; i < t->count && status == 0; i++) {
		const struct seen *me = &t->seen[i];
		long same = map_put(pixels, me->print.pixels, 64, (long)i), near;
		if (same >= 0 && strcmp(t->seen[same].path, me->path))
			status = finding_say(f, FINDING_DUPLICATE, me->path, "the same pixels as %s",
					     t->seen[same].path);
		else if (same < 0 && (near = near_one(t, i, &distance)) >= 0)
			status = finding_say(f, FINDING_NEAR_DUPLICATE, me->path,
					     "looks like %s (%d of 64 bits differ)", t->seen[near].path, distance);
	}
	map_free(pixels);
	return status;
}
