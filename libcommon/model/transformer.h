/*
 * transformer.h - the UNet's spatial transformer: each pixel is a token; self-attention among them, cross-attention to
 * the text.
 */
#ifndef MODEL_TRANSFORMER_H
#define MODEL_TRANSFORMER_H

#include "inventory.h"

struct attention { struct linear q, k, v, out; int heads; };

struct transformer_block {
	struct norm norm1, norm2, norm3;
	struct attention self, cross;
	struct linear ff_in, ff_out;
};

/* Consecutive blocks that gradient checkpointing treats as one block of the tape.  The first part begins with norm and
 * proj_in, the last ends with proj_out. */
struct transformer_part { const struct transformer *of; int first, count; };

struct transformer {
	struct norm norm;
	struct linear proj_in, proj_out;
	struct transformer_block *block;
	struct transformer_part *part;
	int depth, parts;
};

/* text_on_host: the weights that read the text, of few rows, stay in host memory */
struct transformer_size { int width, heads, depth, context, groups; bool conv_projection, text_on_host; };
/* The caller frees the list of blocks with transformer_free(), and the layers with the inventory. */
void take_transformer(struct inventory *v, const char *name, const struct transformer_size *s, struct transformer *tr);
void transformer_free(struct transformer *tr);

/* x [n,h,w,c], of which this is the last use; context [n,length,1,c'].  The result is like x. */
struct tensor *run_transformer(struct tape *t, const struct transformer *tr, struct tensor *x, struct tensor *context);

#endif
