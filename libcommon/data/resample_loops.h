/*
 * resample_loops.h - the inner loops of resample.c, portable and with AVX2: both compute the same integers, hence the
 * same bytes.  Private to resample.c and its test.
 */
#ifndef DATA_RESAMPLE_LOOPS_H
#define DATA_RESAMPLE_LOOPS_H

#include "resample.h"

/* Per output position: `count[i]` source positions from `first[i]` on, weights at weight[i * taps],
 * summing to 1 << bits. */
struct weights {
	int taps;
	int *first, *count;
	int32_t *weight;
};

struct pass_bits { int between, across, down; };

#define RESAMPLE_ROOM 8         /* spare values behind a row between the passes, which the loops may touch */

struct resample_loops {
	/* Horizontal pass: one source row to n pixels of a row between the passes.  Reads one byte beyond the row. */
	void (*across)(const struct weights *w, const uint8_t *row, int n, const struct pass_bits *b, uint16_t *out);
	/* Vertical pass: `count` rows between the passes to one row of the result. */
	void (*down)(const uint16_t *const *row, const int32_t *weight, int count, int values,
		     const struct pass_bits *b, uint8_t *out);
};

extern const struct resample_loops resample_portable;
#ifdef __x86_64__
extern const struct resample_loops resample_avx2;
#endif

/* resample_part() with these loops. */
void resample_by(const struct resample_loops *loops, const struct image *in, const struct image_part *part, int width,
		 int height, enum resample_filter filter, struct window window, struct image *out);

#endif
