/* The tree in which a step's gradients are added. */
#include "leaves.h"

static uint32_t least(uint64_t a, uint32_t b)
{
	return a < b ? a : b;
}

struct leaves leaves_of_rank(uint32_t count, uint32_t ranks, uint32_t rank)
{
	return (struct leaves){ (uint64_t)count * rank / ranks, (uint64_t)count * (rank + 1) / ranks };
}

/* A left half is never cut short: were it, there would be no right one. */
bool leaves_join(struct leaves a, struct leaves b, uint32_t count)
{
	const uint64_t half = a.end - a.first;

	return a.end == b.first && !(half & (half - 1)) && a.first % (2 * half) == 0 &&
	       b.end == least(a.first + 2 * half, count);
}

struct leaves leaves_next_node(struct leaves *of, uint32_t count)
{
	const uint32_t first = of->first;
	uint64_t size = 1;

	while (first % (2 * size) == 0 && first + size < count && least(first + 2 * size, count) <= of->end)
		size *= 2;
	of->first = least(first + size, count);
	return (struct leaves){ first, of->first };
}

/* One rank's last sum is the step's and waits for nobody.  Another's range may begin and end amid a node, so that it
 * climbs down one side of the tree as well as up the other. */
size_t leaves_waiting(uint32_t count, uint32_t ranks)
{
	const uint32_t most = (count + (uint64_t)ranks - 1) / ranks;
	size_t levels = 0;

	while ((uint64_t)2 << levels <= most)
		levels++;
	return ranks == 1 ? levels : levels ? 2 * levels : 1;
}
