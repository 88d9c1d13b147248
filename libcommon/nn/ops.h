/*
 * ops.h - the differentiable operations, and the layers they take.
 *
 * Each operation calls the backend at once and records a node for backward.  op_*.c has forward and backward side by
 * side.  Must not know networks.
 */
#ifndef NN_OPS_H
#define NN_OPS_H

#include "branch.h"

struct linear { struct weight w; float *bias; struct branch *branch; };     /* y = x W^T + b; bias [out] or NULL */
struct conv   { struct weight w; float *bias; struct branch *branch; int stride; };
/* groups 0: layer norm.  branch: what adapters add to gain and bias; w: their shape alone, [c,1] */
struct norm   { float *gain, *bias; int c, groups; float eps; struct weight w; struct branch *branch; };

struct tensor *op_linear(struct tape *t, struct tensor *x, const struct linear *l);
/* op_geglu() of it, in one call of the backend where op_linears() would have one tensor */
struct tensor *op_linear_geglu(struct tape *t, struct tensor *x, const struct linear *l);
/* Columns at..at+c-1 of a tensor. */
struct slice { struct tensor *of; int at, c; };
static inline struct slice whole_slice(struct tensor *x)
{
	return (struct slice){ x, 0, x->c };
}
/* y[i]: what layer i of so many makes of x.  They lie beside each other in one tensor where each layer is frozen or has
 * one adapter without dropout, which is a product of two narrow matrices; else in one each. */
void op_linears(struct tape *t, struct tensor *x, const struct linear *const *l, int count, struct slice *y);
/* Padding kernel/2 on all sides; stride 2 halves (rounding up). */
struct tensor *op_conv(struct tape *t, struct tensor *x, const struct conv *c);
/* The same; what it leaves is not added up along the network. */
struct tensor *op_conv_inner(struct tape *t, struct tensor *x, const struct conv *c);
/* The VAE's downsampler pads right and bottom only: with padding on the left the latents shift by half a pixel. */
struct tensor *op_conv_pad_end(struct tape *t, struct tensor *x, const struct conv *c);
struct tensor *op_group_norm(struct tape *t, struct tensor *x, const struct norm *g, bool silu);
/* Operations in bands of `rows` rows (a multiple of 4), with the same result, byte for byte, as single ones.  Of 3x3
 * convolutions of stride 1 without adapters; for inference, as nothing is recorded.  shortcut: NULL where a block has
 * none.
 *
 * x += conv2(silu(norm2(conv1(silu(norm1(x)))))) in x's own memory.  Needs memory for three bands.  conv1 runs twice,
 * as norm2's statistics are known only after the last band. */
struct residual { const struct norm *norm1, *norm2; const struct conv *conv1, *conv2; const struct linear *shortcut; };
struct tensor *op_residual_bands(struct tape *t, struct tensor *x, const struct residual *r, int rows);
/* shortcut(u) + conv2(silu(norm2(conv1(silu(norm1(u)))))) where u is x; or up(x doubled in size), which never lies
 * whole in memory, and is computed three times.  Needs memory for the result and two bands of either width. */
struct tensor *op_shortcut_bands(struct tape *t, struct tensor *x, const struct conv *up, const struct residual *r,
				 int rows);
/* conv(silu(norm(x))); of x doubled in size where norm is NULL */
struct tensor *op_conv_bands(struct tape *t, struct tensor *x, const struct norm *n, const struct conv *c, int rows);
struct tensor *op_layer_norm(struct tape *t, struct tensor *x, const struct norm *g);
/* *sum = a + b, and its layer norm, in one call of the backend */
struct tensor *op_add_norm(struct tape *t, struct tensor *a, struct tensor *b, const struct norm *g,
			   struct tensor **sum);
struct tensor *op_activation(struct tape *t, struct tensor *x, enum activation kind);
struct tensor *op_geglu(struct tape *t, struct tensor *x);              /* c -> c/2 */
struct tensor *op_add(struct tape *t, struct tensor *a, struct tensor *b);
struct tensor *op_add_per_sample(struct tape *t, struct tensor *x, struct tensor *v);   /* x [n,h,w,c] + v [n,1,1,c] */
/* z like x, device memory, frozen */
struct tensor *op_multiply(struct tape *t, struct tensor *x, const float *z);
struct tensor *op_concat(struct tape *t, struct tensor *a, struct tensor *b);           /* along c */
struct tensor *op_upsample(struct tape *t, struct tensor *x);                           /* nearest, twice */
/* q [n,lq,1,heads*d], k and v [n,lk,1,heads*d] (or pictures: l = h*w), together all columns of their tensors; scale
 * 1/sqrt(d) */
struct tensor *op_attention(struct tape *t, struct slice q, struct slice k, struct slice v, int heads,
			    bool causal);
/* no gradient */
struct tensor *op_embedding(struct tape *t, const struct weight *table, const int32_t *ids, int n, int length);
/* x [n,l,1,c] + positions [l,c] */
struct tensor *op_add_positions(struct tape *t, struct tensor *x, const float *positions);
/* [count,1,1,c]; rows of x, host memory */
struct tensor *op_gather(struct tape *t, struct tensor *x, const int32_t *rows, int count);
/* x in the type that tape_inner() said, for layers that read it again and again; where it wants a gradient, which is
 * added up in floats, x itself */
struct tensor *op_inner(struct tape *t, struct tensor *x);
struct tensor *op_crop(struct tape *t, struct tensor *x, int h, int w);                 /* [n,h,w,c]: the upper left */
/* [n,1,1,1]: weight[i] * mean(mask f(x - target)) of sample i; target has x's shape.  Sizes in terms are taken from x,
 * its pointers are device memory. */
struct tensor *op_loss(struct tape *t, struct tensor *x, const struct tensor *target, const struct loss_terms *terms);

#endif
