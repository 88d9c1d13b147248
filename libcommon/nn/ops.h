/*
 * ops.h - the differentiable operations, and the layers they take.
 *
 * Each op runs its backend call at once and records how to go back; op_*.c keeps forward and backward side by side.
 * Must not know networks.
 */
#ifndef NN_OPS_H
#define NN_OPS_H

#include "tape.h"

/* A low-rank update of a frozen layer: W + scale * up down.  For kernels larger than 1x1 down is the convolution and up is 1x1.
 * Several may stand in a row. */
struct lora_dropout;
struct lora {
	struct tensor down;             /* [rank, kh, kw, in]  as tensor n,h,w,c; HOME_OWNER */
	struct tensor up;               /* [out, 1, 1, rank] */
	int rank;
	float scale;                    /* alpha / rank * weight */
	struct lora *next;
	const struct lora_dropout *dropout;     /* NULL: nothing is ever left out */
	uint32_t id;                    /* which module, for its draws */
	/* DoRA: W' = magnitude / |W + scale up down| (W + scale up down), norms and magnitudes of rows; the layer is weight of the way from
	 * W to W'.  The gradient takes the norm for a constant (arXiv 2402.09353, 4.3). */
	const struct lora_dora *dora;   /* NULL: none, and what follows is unset */
	struct tensor magnitude;        /* [1,1,1,out]; HOME_OWNER */
	float *rows2;                   /* [out]: squares of the norms of W's rows */
	float weight;
	/* DoRA as other programs' files have it, with norms and magnitudes of columns, never trained: gain = magnitude / norm - 1 for each
	 * input, and the same plus 1; [2,in].  NULL: none.  dora is NULL then; weight is set. */
	float *column_gain;
};

/* Constants on the device that DoRA modules share: the identity [units,units] and a row of ones, at least as large as any rank and any
 * layer's output. */
struct lora_dora { const float *unit, *ones; int units; };

/* norm2 [out]: squares of the norms of the rows of W + scale up down.  room: dora_norms_room() floats of device memory */
void dora_norms(const struct backend *be, struct device *d, float *norm2, const struct lora *l, const struct weight *w, float *room);
size_t dora_norms_room(const struct lora *l);

/* What is left out of adapters in training, shared by all of them.  Draws are functions of (seed, step, batch, module), so that a
 * checkpointed block leaves out the same when it runs again. */
struct lora_dropout {
	bool on;                        /* a step of training runs; off: everything is there */
	double value, rank, module;     /* chances: of single values and whole columns of x down^T, and of whole modules */
	uint64_t seed;
	uint32_t step, batch;
};

struct linear { struct weight w; float *bias; struct lora *lora; };     /* y = x W^T + b; bias [out] or NULL */
struct conv   { struct weight w; float *bias; struct lora *lora; int stride; };
struct norm   { float *gain, *bias; int c, groups; float eps; };        /* groups 0: layer norm */

struct tensor *op_linear(struct tape *t, struct tensor *x, const struct linear *l);
/* Padding kernel/2 on all sides; stride 2 halves (rounding up). */
struct tensor *op_conv(struct tape *t, struct tensor *x, const struct conv *c);
/* The VAE's downsampler pads right and bottom only: with padding on the left the latents shift by half a pixel. */
struct tensor *op_conv_pad_end(struct tape *t, struct tensor *x, const struct conv *c);
struct tensor *op_group_norm(struct tape *t, struct tensor *x, const struct norm *g, bool silu);
/* x += conv2(silu(norm2(conv1(silu(norm1(x)))))) in x's own memory, 3x3 convolutions of stride 1 without adapters: band by band of so many
 * rows (a multiple of 4), with the bytes that the operations one by one would give.  Takes memory for three bands, and conv1
 * runs twice, as norm2's statistics are known only after the last band.  Nothing is recorded: for inference. */
struct residual { const struct norm *norm1, *norm2; const struct conv *conv1, *conv2; };
struct tensor *op_residual_bands(struct tape *t, struct tensor *x, const struct residual *r, int rows);
struct tensor *op_layer_norm(struct tape *t, struct tensor *x, const struct norm *g);
struct tensor *op_activation(struct tape *t, struct tensor *x, enum activation kind);
struct tensor *op_geglu(struct tape *t, struct tensor *x);              /* c -> c/2 */
struct tensor *op_add(struct tape *t, struct tensor *a, struct tensor *b);
struct tensor *op_add_per_sample(struct tape *t, struct tensor *x, struct tensor *v);   /* x [n,h,w,c] + v [n,1,1,c] */
struct tensor *op_multiply(struct tape *t, struct tensor *x, const float *z);           /* z like x, device memory, frozen */
struct tensor *op_concat(struct tape *t, struct tensor *a, struct tensor *b);           /* along c */
struct tensor *op_upsample(struct tape *t, struct tensor *x);                           /* nearest, twice */
/* q [n,lq,1,heads*d], k and v [n,lk,1,heads*d] (or pictures: l = h*w); scale 1/sqrt(d) */
struct tensor *op_attention(struct tape *t, struct tensor *q, struct tensor *k, struct tensor *v, int heads, bool causal);
struct tensor *op_embedding(struct tape *t, const struct weight *table, const int32_t *ids, int n, int length);  /* no gradient */
struct tensor *op_add_positions(struct tape *t, struct tensor *x, const float *positions);      /* x [n,l,1,c] + positions [l,c] */
struct tensor *op_gather(struct tape *t, struct tensor *x, const int32_t *rows, int count);     /* [count,1,1,c]; rows of x, host memory */
struct tensor *op_crop(struct tape *t, struct tensor *x, int h, int w);                 /* [n,h,w,c]: the upper left */
/* [n,1,1,1]: weight[i] * mean((x - target)^2) of sample i; target has x's shape, weight device [n] */
struct tensor *op_mse(struct tape *t, struct tensor *x, const struct tensor *target, const float *weight);
/* the same with weight[i] * mean(mask f(x - target)); sizes in terms are taken from x, its pointers are device memory */
struct tensor *op_loss(struct tape *t, struct tensor *x, const struct tensor *target, const struct loss_terms *terms);

#endif
