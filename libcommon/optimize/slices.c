/* Cutting the vector of all parameters into slices, where a parameter begins. */
#include "slices.h"

void slices_cut(const struct optimizer *o, int ranks, size_t *cut)
{
	size_t i = 0;

	for (int r = 0; r <= ranks; r++) {
		const size_t goal = o->floats / ranks * r + o->floats % ranks * r / ranks;
		/* the nearest place: half of a parameter on either side */
		while (i < o->count && o->parameter[i].at + o->parameter[i].count / 2 < goal)
			i++;
		cut[r] = r < ranks ? i : o->count;
	}
}
