/* Dropout from Philox words. */
#include "internal.h"

/* A block of random words decides four elements.  A decision depends on the element's index alone, so any order gives
 * the same. */
struct draw { const struct random *r; uint64_t below; uint32_t block, word[4]; bool any; };

static bool gone(struct draw *d, size_t i)
{
	if (!d->any || d->block != i / 4) {
		d->block = i / 4;
		d->any = true;
		philox(d->r, d->block, d->word);
	}
	return d->word[i % 4] < d->below;
}

void cpu_dropout(struct device *d, float *x, const struct random *r, double p, int n, int rows, int c, bool shared)
{
	const float keep = 1 / (1 - p);
	struct draw draw = { .r = r, .below = p * 0x1p32 };
	size_t row = 0;

	for (int s = 0; s < n; s++)
		for (int i = 0; i < rows; i++, row++)
			for (int k = 0; k < c; k++, x++)
				*x = gone(&draw, (shared ? (size_t)s : row) * c + k) ? 0 : *x * keep;
}
