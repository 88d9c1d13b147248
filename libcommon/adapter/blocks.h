/*
 * blocks.h - kohya's blocks of the UNet: a rank, an alpha and a learning rate for each.
 *
 * How many there are is the family's struct block_map.  SDXL: 0 is time and size embeddings and 22 the output, both
 * without adapter; 1 to 9 are input_blocks, 10 to 12 middle_block, 13 to 21 output_blocks.  Stable Diffusion 1.5: 0 is
 * conv_in, without adapter; 1 to 11 are input_blocks, 12 middle_block, 13 to 24 output_blocks.
 * Owns the parsing of their lists.  Must not know tensors.
 */
#ifndef ADAPTER_BLOCKS_H
#define ADAPTER_BLOCKS_H

#include <stdbool.h>
#include "../base/error.h"
#include "../model/family.h"

#define BLOCKS_MOST 25

struct block_plan {
	bool convolutions;                      /* the CONV_SET layers get adapters */
	int rank[BLOCKS_MOST], conv_rank[BLOCKS_MOST];    /* 0: no adapter */
	double alpha[BLOCKS_MOST], conv_alpha[BLOCKS_MOST];
	double lr[BLOCKS_MOST];                      /* factors; 0: no adapter */
};

/* The lists as texts of network_args; NULL: not given. */
struct block_texts {
	const char *dims, *alphas, *conv_dims, *conv_alphas;    /* a number a block */
	const char *down, *mid, *up;            /* factors, or a preset: "cosine", "zeros+0.1", ... */
	double zero_threshold;                  /* factors up to this one count as 0 */
};

bool block_texts_given(const struct block_texts *t);
/* rank ... conv_alpha are the values where a list is not given.
 * family NULL: not known yet; the lists must fit one that there is. */
int block_plan_read(struct block_plan *p, const struct block_texts *t, const struct family *family, int rank,
		    double alpha, int conv_rank, double conv_alpha, struct error *e) MUST_CHECK;
/* Of a module by kohya's name ("lora_unet_input_blocks_4_1_proj_in", "lora_unet_mid_block_resnets_0_conv1"),
 * counted as in its family; -1: of a text encoder, or beyond the blocks of the released model. */
int unet_block(const char *stem);
/* The block of a module by kohya's name, as A1111's block weights call it: IN04, M00, OUT05; TE1, TE2; else OTHER. */
#define BLOCK_NAME 16
void block_name(const char *stem, char name[BLOCK_NAME]);

#endif
