/*
 * lint_twins.h - finds pictures that are equal, or nearly so.  Private to lora-prep's --lint.
 *
 * Equal: SHA-256 over size and upright sRGB pixels, so that another file format or Exif orientation hides nothing.
 * Nearly equal: at most TWINS_DISTANCE of 64 bits differ in a difference hash (is a cell of the picture at 9x8 brighter
 * than its left neighbour?), which resizing, recompression and brightness hardly change.
 */
#ifndef DATA_LINT_TWINS_H
#define DATA_LINT_TWINS_H

#include <stdint.h>
#include "../io/image.h"
#include "lint_finding.h"

#define TWINS_DISTANCE 4

struct fingerprint {
	char pixels[65];
	uint64_t bits;
	bool flat;                      /* too few edges for the bits to mean anything */
};

void fingerprint_make(const struct image *i, struct fingerprint *f);

struct twins;
struct twins *twins_new(void);
void twins_free(struct twins *t);                               /* accepts NULL */
/* path must outlive t.  A path that was added before is no twin of itself. */
void twins_add(struct twins *t, const char *path, const struct fingerprint *f);
/* Reports each picture that has an earlier twin, in order. */
int twins_report(const struct twins *t, struct findings *f) MUST_CHECK;

#endif
