#include <stdlib.h>
#include "../base/memory.h"
#include "transformer.h"

/* diffusers' Transformer2DModel has 1e-6 here whatever the config says, and its layer norms PyTorch's default. */
#define GROUP_NORM_EPS 1e-6f
#define LAYER_NORM_EPS 1e-5f

static void take_attention(struct inventory *v, const char *block, const char *which, int width, int heads, int context,
			   struct attention *a)
{
	char *name = xprintf("%s.%s", block, which);

	a->heads = heads;
	take_linear(v, LAYER_TRANSFORMER, name, "to_q", width, width, false, &a->q);
	take_linear(v, LAYER_TRANSFORMER, name, "to_k", width, context, false, &a->k);
	take_linear(v, LAYER_TRANSFORMER, name, "to_v", width, context, false, &a->v);
	take_linear(v, LAYER_TRANSFORMER, name, "to_out.0", width, width, true, &a->out);
	free(name);
}

static void take_block(struct inventory *v, const char *name, const struct transformer_size *s, struct transformer_block *b)
{
	take_norm(v, name, "norm1", s->width, 0, LAYER_NORM_EPS, &b->norm1);
	take_attention(v, name, "attn1", s->width, s->heads, s->width, &b->self);
	take_norm(v, name, "norm2", s->width, 0, LAYER_NORM_EPS, &b->norm2);
	take_attention(v, name, "attn2", s->width, s->heads, s->context, &b->cross);
	take_norm(v, name, "norm3", s->width, 0, LAYER_NORM_EPS, &b->norm3);
	take_linear(v, LAYER_TRANSFORMER, name, "ff.net.0.proj", 8 * s->width, s->width, true, &b->ff_in);
	take_linear(v, LAYER_TRANSFORMER, name, "ff.net.2", s->width, 4 * s->width, true, &b->ff_out);
}

void take_transformer(struct inventory *v, const char *name, const struct transformer_size *s, struct transformer *tr)
{
	tr->depth = s->depth;
	tr->block = xcalloc(s->depth, sizeof(*tr->block));
	take_norm(v, name, "norm", s->width, s->groups, GROUP_NORM_EPS, &tr->norm);
	take_linear(v, LAYER_TRANSFORMER, name, "proj_in", s->width, s->width, true, &tr->proj_in);
	for (int i = 0; i < s->depth; i++) {
		char *block = xprintf("%s.transformer_blocks.%d", name, i);
		take_block(v, block, s, &tr->block[i]);
		free(block);
	}
	take_linear(v, LAYER_TRANSFORMER, name, "proj_out", s->width, s->width, true, &tr->proj_out);
}

void transformer_free(struct transformer *tr)
{
	free(tr->block);
	tr->block = NULL;
}

static struct tensor *attend(struct tape *t, const struct attention *a, struct tensor *x, struct tensor *read)
{
	struct tensor *q = op_linear(t, x, &a->q), *k = op_linear(t, read, &a->k), *v = op_linear(t, read, &a->v);

	return op_linear(t, op_attention(t, q, k, v, a->heads, false), &a->out);
}

static struct tensor *feed_forward(struct tape *t, const struct transformer_block *b, struct tensor *x)
{
	return op_linear(t, op_geglu(t, op_linear(t, x, &b->ff_in)), &b->ff_out);
}

/* in: x, context */
static struct tensor *run_block(struct tape *t, const void *block, struct tensor *const *in)
{
	const struct transformer_block *b = block;
	struct tensor *x = in[0], *h;

	h = op_layer_norm(t, x, &b->norm1);
	x = op_add(t, x, attend(t, &b->self, h, h));
	h = op_layer_norm(t, x, &b->norm2);
	x = op_add(t, x, attend(t, &b->cross, h, in[1]));
	h = op_layer_norm(t, x, &b->norm3);
	return op_add(t, x, feed_forward(t, b, h));
}

static struct tensor *run_entry(struct tape *t, const void *transformer, struct tensor *const *in)
{
	const struct transformer *tr = transformer;

	return op_linear(t, op_group_norm(t, in[0], &tr->norm, false), &tr->proj_in);
}

/* in: the last block's output, the transformer's input */
static struct tensor *run_exit(struct tape *t, const void *transformer, struct tensor *const *in)
{
	const struct transformer *tr = transformer;

	return op_add(t, in[1], op_linear(t, in[0], &tr->proj_out));
}

struct tensor *run_transformer(struct tape *t, const struct transformer *tr, struct tensor *x, struct tensor *context)
{
	struct tensor *h = tape_block(t, run_entry, tr, (struct tensor *[]){ x }, 1);

	for (int i = 0; i < tr->depth; i++)
		h = tape_block(t, run_block, &tr->block[i], (struct tensor *[]){ h, context }, 2);
	return tape_block(t, run_exit, tr, (struct tensor *[]){ h, x }, 2);
}
