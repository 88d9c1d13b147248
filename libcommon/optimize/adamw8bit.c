/* AdamW with moments of eight bits, quantised in blocks, as bitsandbytes has it. */
#include <math.h>
#include <stdlib.h>
#include "../base/elementary.h"
#include "internal.h"

enum { CODE1, CODE2, ABSMAX1, ABSMAX2 };        /* of the slots */
enum { SMALLEST = 4096 };                       /* tensors of fewer elements keep floats */

static void set_slots(const struct optimizer *o, struct parameter *p)
{
	const size_t blocks = (p->count + ADAM8_BLOCK - 1) / ADAM8_BLOCK;

	if (p->count < SMALLEST) {
		p->slot[0] = p->slot[1] = slot_of_floats(p->count);
		return;
	}
	p->slot[CODE1] = p->slot[CODE2] = (struct slot){ NULL, DTYPE_U8, p->count };
	p->slot[ABSMAX1] = p->slot[ABSMAX2] = slot_of_floats(blocks);
}

static int ascending(const void *a, const void *b)
{
	const float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

/* Edge k of `parts` equal intervals of 0.1..1 in floats, computed from the nearer end and rounded once, as PyTorch's
 * linspace does. */
static float edge(int k, int parts)
{
	const float step = (1.f - 0.1f) / parts;

	return k < (parts + 1) / 2 ? fmaf(step, k, 0.1f) : fmaf(-step, parts - k, 1);
}

/* The 256 values that a code stands for: seven decades, of which the i-th holds the middles of `first` * 2^i equal
 * intervals of 0.1..1, with both signs or only positive; then 0 and 1.  Equal to bitsandbytes' map in every bit. */
static void make_map(float map[256], int first, bool both_signs)
{
	int i, k, n = 0;

	for (i = 0; i < 7; i++) {
		const int parts = first << i;
		for (k = 0; k < parts; k++) {
			const float middle = (float)plain_pow(10, i - 6) * ((edge(k, parts) + edge(k + 1, parts)) / 2);
			map[n++] = middle;
			if (both_signs)
				map[n++] = -middle;
		}
	}
	map[n++] = 0;
	map[n++] = 1;
	qsort(map, n, sizeof(*map), ascending);
}

static void set_maps(float *maps)
{
	make_map(maps, 1, true);
	make_map(maps + 256, 2, false);
}

static void move(const struct optimizer *o, double multiplier, float grad_scale)
{
	struct adamw_step *steps = adamw_steps(o, multiplier, grad_scale);

	o->be->adamw8bit(o->device, o->sums, o->table, steps, o->maps, o->moving);
	free(steps);
}

static const struct optimizer_argument arguments[] = {
	BETAS(0), NUMBER("eps", eps, 1e-30, 1), NUMBER("weight_decay", decay, 0, 100), { 0 },
};

const struct optimizer_kind optimizer_adamw8bit = {
	.name = "AdamW8bit", .python = "bitsandbytes.optim.adamw.AdamW8bit", .arguments = arguments,
	.defaults = { .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .decay = 0.01 },
	.set_slots = set_slots, .set_maps = set_maps, .move = move,
};
