/*
 * blocks.h - kohya's 23 blocks of SDXL's UNet: a rank, an alpha and a learning rate for each.
 *
 * Block 0 is the time and size embeddings and block 22 the output, both without adapter; 1 to 9 are input_blocks, 10 to
 * 12 middle_block, 13 to 21 output_blocks.  Owns the parsing of their lists.  Must not know tensors.
 */
#ifndef ADAPTER_BLOCKS_H
#define ADAPTER_BLOCKS_H

#include <stdbool.h>
#include "../base/error.h"

#define UNET_BLOCKS 23

struct block_plan {
	bool convolutions;                      /* the CONV_SET layers get adapters */
	int rank[UNET_BLOCKS], conv_rank[UNET_BLOCKS];    /* 0: no adapter */
	double alpha[UNET_BLOCKS], conv_alpha[UNET_BLOCKS];
	double lr[UNET_BLOCKS];                      /* factors; 0: no adapter */
};

/* As in network_args; NULL: not given. */
struct block_texts {
	const char *dims, *alphas, *conv_dims, *conv_alphas;    /* 23 numbers each */
	const char *down, *mid, *up;            /* 9, 3, 9 factors, or a preset: "cosine", "zeros+0.1", ... */
	double zero_threshold;                  /* factors up to this one count as 0 */
};

bool block_texts_given(const struct block_texts *t);
/* rank ... conv_alpha are the values where a list is not given */
int block_plan_read(struct block_plan *p, const struct block_texts *t, int rank, double alpha, int conv_rank,
		    double conv_alpha, struct error *e) MUST_CHECK;
/* Of a module by kohya's name ("lora_unet_input_blocks_4_1_proj_in");
 * -1: of a text encoder, or beyond SDXL's blocks. */
int unet_block(const char *stem);

#endif
