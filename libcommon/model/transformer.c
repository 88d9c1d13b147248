/* The UNet's spatial transformer: loading and forward. */
#include <stdlib.h>
#include "../base/memory.h"
#include "transformer.h"

/* diffusers' Transformer2DModel has 1e-6 here whatever the config says, and its layer norms PyTorch's default. */
#define GROUP_NORM_EPS 1e-6f
#define LAYER_NORM_EPS 1e-5f

/* Transformers of at least DEEP blocks are checkpointed in parts of BLOCKS_A_PART blocks.  A part stores its input, and
 * needs memory for all activations inside it while it runs again.  Where a transformer is deep, its pictures are small,
 * and so are the activations of a block. */
#define DEEP 3
#define BLOCKS_A_PART 2

static void take_attention(struct inventory *v, const char *block, const char *which, const struct transformer_size *s,
			   bool cross, struct attention *a)
{
	const int width = s->width, read = cross ? s->context : width;
	const bool on_host = v->loader.on_host;
	char *name = xprintf("%s.%s", block, which);

	a->heads = s->heads;
	if (!cross)
		take_stacked(v, 3);
	take_linear(v, LAYER_TRANSFORMER, name, "to_q", width, width, false, &a->q);
	if (cross)
		take_stacked(v, 2);
	v->loader.on_host = on_host || (cross && s->text_on_host);
	take_linear(v, LAYER_TRANSFORMER, name, "to_k", width, read, false, &a->k);
	take_linear(v, LAYER_TRANSFORMER, name, "to_v", width, read, false, &a->v);
	v->loader.on_host = on_host;
	take_linear(v, LAYER_TRANSFORMER, name, "to_out.0", width, width, true, &a->out);
	free(name);
}

static void take_block(struct inventory *v, const char *name, const struct transformer_size *s,
		       struct transformer_block *b)
{
	take_norm(v, name, "norm1", s->width, 0, LAYER_NORM_EPS, &b->norm1);
	take_attention(v, name, "attn1", s, false, &b->self);
	take_norm(v, name, "norm2", s->width, 0, LAYER_NORM_EPS, &b->norm2);
	take_attention(v, name, "attn2", s, true, &b->cross);
	take_norm(v, name, "norm3", s->width, 0, LAYER_NORM_EPS, &b->norm3);
	take_linear(v, LAYER_TRANSFORMER, name, "ff.net.0.proj", 8 * s->width, s->width, true, &b->ff_in);
	take_linear(v, LAYER_TRANSFORMER, name, "ff.net.2", s->width, 4 * s->width, true, &b->ff_out);
}

static void divide(struct transformer *tr)
{
	const int each = tr->depth < DEEP ? 1 : BLOCKS_A_PART;

	tr->parts = (tr->depth + each - 1) / each;
	tr->part = xcalloc(tr->parts, sizeof(*tr->part));
	for (int i = 0; i < tr->parts; i++) {
		const int first = i * each;
		tr->part[i] = (struct transformer_part){ tr, first,
							 first + each > tr->depth ? tr->depth - first : each };
	}
}

/* A linear layer over channels and a 1x1 convolution are the same; only files tell them apart. */
static void take_projection(struct inventory *v, const char *name, const char *child, const struct transformer_size *s,
			    struct linear *l)
{
	if (s->conv_projection)
		take_conv1x1(v, LAYER_TRANSFORMER, name, child, s->width, s->width, l);
	else
		take_linear(v, LAYER_TRANSFORMER, name, child, s->width, s->width, true, l);
}

void take_transformer(struct inventory *v, const char *name, const struct transformer_size *s, struct transformer *tr)
{
	tr->depth = s->depth;
	tr->block = xcalloc(s->depth, sizeof(*tr->block));
	divide(tr);
	take_norm(v, name, "norm", s->width, s->groups, GROUP_NORM_EPS, &tr->norm);
	take_projection(v, name, "proj_in", s, &tr->proj_in);
	for (int i = 0; i < s->depth; i++) {
		char *block = xprintf("%s.transformer_blocks.%d", name, i);
		take_block(v, block, s, &tr->block[i]);
		free(block);
	}
	take_projection(v, name, "proj_out", s, &tr->proj_out);
}

void transformer_free(struct transformer *tr)
{
	free(tr->block);
	free(tr->part);
	tr->block = NULL;
	tr->part = NULL;
}

/* x is read here last; read may be x */
static struct tensor *attend(struct tape *t, const struct attention *a, struct tensor *x, struct tensor *read)
{
	const struct linear *const of_x[] = { &a->q, &a->k, &a->v };
	const int count = read == x ? 3 : 1;
	struct slice qkv[3];

	op_linears(t, last_use(x), of_x, count, qkv);
	if (count < 3)
		op_linears(t, read, of_x + count, 3 - count, qkv + count);
	for (int i = 0; i < 3; i++)
		last_use(qkv[i].of);
	return op_linear(t, last_use(op_attention(t, qkv[0], qkv[1], qkv[2], a->heads, false)), &a->out);
}

static struct tensor *feed_forward(struct tape *t, const struct transformer_block *b, struct tensor *x)
{
	return op_linear(t, last_use(op_linear_geglu(t, last_use(x), &b->ff_in)), &b->ff_out);
}

/* What blocks add to, and its norm for who reads it next. */
struct stream { struct tensor *x, *h; };

/* next: NULL where nobody reads its norm */
static void add_to(struct tape *t, struct stream *s, struct tensor *a, const struct norm *next)
{
	if (next)
		s->h = op_add_norm(t, last_use(s->x), last_use(a), next, &s->x);
	else
		s->x = op_add(t, last_use(s->x), last_use(a));
}

static void run_block(struct tape *t, const struct transformer_block *b, const struct norm *next, struct stream *s,
		      struct tensor *context)
{
	add_to(t, s, attend(t, &b->self, s->h, s->h), &b->norm2);
	add_to(t, s, attend(t, &b->cross, s->h, context), &b->norm3);
	add_to(t, s, feed_forward(t, b, s->h), next);
}

/* A block_fn.  in: the output of the part before, or the picture; the context; for the last part, the picture too */
static struct tensor *run_part(struct tape *t, const void *part, struct tensor *const *in)
{
	const struct transformer_part *p = part;
	const struct transformer *tr = p->of;
	const struct transformer_block *b = &tr->block[p->first], *end = b + p->count;
	struct stream s = { .x = in[0] };

	if (!p->first) {
		s.x = op_group_norm(t, in[0] == in[2] ? in[0] : last_use(in[0]), &tr->norm, false);
		s.x = op_linear(t, last_use(s.x), &tr->proj_in);
	}
	s.h = op_layer_norm(t, s.x, &b->norm1);
	for (; b < end; b++)
		run_block(t, b, b + 1 < end ? &b[1].norm1 : NULL, &s, in[1]);
	return in[2] ? op_add(t, last_use(in[2]), last_use(op_linear(t, last_use(s.x), &tr->proj_out))) : s.x;
}

struct tensor *run_transformer(struct tape *t, const struct transformer *tr, struct tensor *x, struct tensor *context)
{
	struct tensor *h = x;

	for (int i = 0; i < tr->parts; i++) {
		const bool ends = i == tr->parts - 1;
		struct tensor *in[] = { h, context, ends ? x : NULL };
		h->last = h != x || ends;
		x->last = ends;
		h = tape_block(t, run_part, &tr->part[i], in, 3);
	}
	return h;
}
