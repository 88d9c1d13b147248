/* Cutting the vector of all parameters into slices. */
#include "slices.h"

/* units * rank / ranks, where the product may not fit */
static size_t cut(size_t floats, int ranks, int rank)
{
	const size_t units = (floats + SLICE_UNIT - 1) / SLICE_UNIT;
	const size_t at = (units / ranks * rank + units % ranks * rank / ranks) * SLICE_UNIT;

	return at < floats ? at : floats;
}

struct slice slice_of_rank(size_t floats, int ranks, int rank)
{
	return (struct slice){ cut(floats, ranks, rank), cut(floats, ranks, rank + 1) };
}
