/* Blocks of a UNet as sd-scripts' networks/svd_merge_lora.py numbers them. */
#include <stdio.h>
#include <stdlib.h>
#include "../adapter/blocks.h"
#include "../adapter/keys.h"
#include "slots.h"

enum { SLOT_BASE = 0, SLOT_IN = 1, SLOT_MID = 13, SLOT_OUT = 14 };

/* LAYER12 to LAYER26 of that file */
static const struct slot_list lists[] = {
	{ 12, true,  "1" "000011011000" "1" "111111000000", "BASE IN04 IN05 IN07 IN08 MID OUT00-OUT05" },
	{ 20, true,  "1" "111111111000" "1" "111111111000", "BASE IN00-IN08 MID OUT00-OUT08" },
	{ 17, false, "1" "011011011000" "1" "000111111111", "BASE IN01 IN02 IN04 IN05 IN07 IN08 MID OUT03-OUT11" },
	{ 26, false, "1" "111111111111" "1" "111111111111", "BASE IN00-IN11 MID OUT00-OUT11" },
};

const struct slot_list *slot_list(size_t count)
{
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		if (lists[i].count == count)
			return &lists[i];
	return NULL;
}

static const struct block_map *blocks_of(const struct family *f)
{
	return f ? &f->blocks : &family_sdxl.blocks;
}

bool slot_list_is_for(const struct slot_list *l, const struct family *f)
{
	return l->sdxl == (blocks_of(f)->down == family_sdxl.blocks.down);
}

int slot_of_module(const struct adapter_file *a, const struct file_module *m)
{
	const struct block_map *b = blocks_of(a->family);
	char *stem = kohya_stem(m->layer, &a->blocks);
	const int k = unet_block(stem) - b->first;

	free(stem);
	if (m->layer->component != COMPONENT_UNET)
		return SLOT_BASE;
	if (k < 0)
		return -1;
	if (k < b->down)
		return SLOT_IN + k;
	return k < b->down + b->mid ? SLOT_MID : SLOT_OUT + k - b->down - b->mid;
}

struct slot_name slot_name(int slot)
{
	struct slot_name n;

	if (slot == SLOT_BASE || slot == SLOT_MID || slot < 0)
		snprintf(n.text, sizeof(n.text), "%s", slot < 0 ? "other" : slot == SLOT_MID ? "MID" : "BASE");
	else if (slot < SLOT_MID)
		snprintf(n.text, sizeof(n.text), "IN%02d", (slot - SLOT_IN) % 100);
	else
		snprintf(n.text, sizeof(n.text), "OUT%02d", (slot - SLOT_OUT) % 100);
	return n;
}
