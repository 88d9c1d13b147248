/*
 * kernels.h - the C interface of the kernels: the launchers of each file (*.cu).
 *
 * A launcher enqueues on the stream and returns cudaGetLastError(): it never waits, never allocates, and its arguments
 * are those of libcommon/backend_ops.def, where shapes and formulas are written.  All pointers are device memory unless
 * "host" is said.  `scratch` is device memory of the size given beside it; it is free again when the launcher's kernels
 * have run.
 */
#ifndef CUDA_KERNELS_H
#define CUDA_KERNELS_H

#include <cuda_runtime_api.h>
#include "../libcommon/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- image.cu ---- */
cudaError_t k_image(void);              /* an error: the driver has no code for this card */
const char *k_built_for(void);          /* as "sm_80 sm_86 compute_86" */

/* ---- cast.cu: operands for tensor cores ---- */
/* y[n] = x[n] in the weight's type.  F16: times a power of two that brings the largest magnitude to 2^13..2^14, so that
 * neither large activations (SDXL's first VAE has some above 65504) nor small gradients leave the type's range;
 * 2^under / factor goes to *inverse (BF16 and F32: the factor is 1).  scratch: CAST_SCRATCH floats.  Where x holds Inf
 * or NaN the factor is 1. */
enum { CAST_SCRATCH = 1024 };
cudaError_t k_cast(cudaStream_t st, void *y, enum dtype type, float *inverse, int under, const float *x, size_t n,
		   float *scratch);
/* Rows first..first+rows-1 of the matrix [n*oh*ow, kh*kw*c] whose product with filters is a convolution of
 * x[n,h,w,c]. */
struct columns { int n, h, w, c, oh, ow, kh, kw, stride, pad; size_t first; int rows; };
cudaError_t k_columns(cudaStream_t st, float *y, struct values x, const struct columns *s);
/* y[rows,c] = bias[c] */
cudaError_t k_fill_rows(cudaStream_t st, struct values y, const float *bias, int rows, int c);
/* filters [out][in][taps] of 2 or 4 bytes each to [out][taps][in] */
cudaError_t k_reorder_filters(cudaStream_t st, void *y, const void *x, size_t size, int out, int in, int taps);

/* ---- widen.cu ---- */
/* y = quantised weights, whose data is on the card, in F16, one behind the other; y at an address of 16 bytes.  They
 * are of one type and of as many columns, and the codes of each but the last are a multiple of 64 bytes. */
cudaError_t k_widen(cudaStream_t st, void *y, const struct weight *const *w, int count);

/* ---- narrow.cu, gated.cu, narrow_grads.cu: an adapter's products beside a layer's, of ranks up to NARROW_MOST ---- */
enum { NARROW_MOST = 128 };
/* Of layers beside each other:  y = bias + scale z by^T, where z is made first if it is to be.  A layer without such a
 * product, or of a larger rank, has its bias alone, or 0. */
cudaError_t k_narrow(cudaStream_t st, struct values y, struct values x, const struct stacked *s, int rows);
/* y += bias + scale z by^T, and g = geglu(y), of a layer whose outputs are a multiple of GATED_COLUMNS; of ranks up to
 * GATED_RANK, as more would not find room in registers */
enum { GATED_COLUMNS = 64, GATED_RANK = 64 };
cudaError_t k_narrow_geglu(cudaStream_t st, struct values g, struct values y, struct values x,
			   const struct stacked_layer *l, int rows);
/* dh = backward of geglu(h), to which the gradient dx + scale z by comes, of a layer that has half as many inputs; dh
 * may be h, and dx stays */
cudaError_t k_narrow_dx_geglu(cudaStream_t st, struct values dh, struct values dx, struct values dy, struct values h,
			      const struct stacked_layer *l, int rows);
/* dx = (add ? dx : 0) + the sum of scale z by; dx.at NULL: z alone.  One launch, but one for each layer where a rank is
 * above NARROW_TOGETHER */
enum { NARROW_TOGETHER = 64 };
cudaError_t k_narrow_dx(cudaStream_t st, struct values dx, struct values dy, const struct stacked *s, int rows,
			int add);
/* of those whose rank is narrow */
cudaError_t k_narrow_grads(cudaStream_t st, const struct stacked_grads *g);

/* ---- convolve.cu: products whose operand is read where it lies in the picture ---- */
/* What is multiplied is of the weight's type, F16 under a factor as k_cast's where it comes from floats, F32 as tf32;
 * sums are float.  Half precision of another type than the weight's: cudaErrorInvalidValue, unless that is F32.
 * scratch: CAST_SCRATCH floats */
cudaError_t k_convolve(cudaStream_t st, struct values y, struct values x, const struct weight *w, const float *bias,
		       const struct conv_shape *s, float *scratch);
cudaError_t k_convolve_back(cudaStream_t st, struct values dx, struct values dy, const struct weight *w,
			    const struct conv_shape *s, int add, float *scratch);

/* ---- norm.cu ---- */
cudaError_t k_group_norm(cudaStream_t st, struct values y, float *stats, struct values x, const float *gain,
			 const float *bias, const struct norm_shape *s, float *scratch);
cudaError_t k_group_norm_back(cudaStream_t st, struct values dx, struct values dy, struct values x,
			      const float *stats, const float *gain, const float *bias, const struct norm_shape *s,
			      int add, float *scratch);
cudaError_t k_group_norm_sums(cudaStream_t st, float *stats, float *sums, const float *x, int at, int pixels,
			      const struct norm_shape *s, float *scratch);
cudaError_t k_group_norm_apply(cudaStream_t st, float *y, const float *stats, const float *x, const float *gain,
			       const float *bias, const struct norm_shape *s);
/* floats of scratch that these need */
size_t group_norm_scratch(const struct norm_shape *s);
cudaError_t k_layer_norm(cudaStream_t st, struct values y, float *stats, float *sum, struct values x,
			 struct values z, const float *gain, const float *bias, int rows, int c, float eps);
cudaError_t k_layer_norm_back(cudaStream_t st, struct values dx, struct values also, struct values dy, struct values x,
			      const float *stats, const float *gain, int rows, int c, int add);

/* ---- elementwise.cu ---- */
cudaError_t k_activation(cudaStream_t st, struct values y, struct values x, size_t n, enum activation kind);
cudaError_t k_activation_back(cudaStream_t st, struct values dx, struct values dy, struct values x, size_t n,
			      enum activation kind, int add);
cudaError_t k_geglu(cudaStream_t st, struct values y, struct values x, int rows, int c);
cudaError_t k_geglu_back(cudaStream_t st, struct values dx, struct values dy, struct values x, int rows, int c,
			 int add);
cudaError_t k_axpby(cudaStream_t st, struct values y, float a, struct values x, float b, size_t n);
cudaError_t k_over_root(cudaStream_t st, float *y, float a, const float *x, const float *v, float eps, float b,
			size_t n);
cudaError_t k_add(cudaStream_t st, struct values y, struct values x, struct values z, size_t n);
/* r host; at, where it is not NULL: device memory that holds it when the kernel runs */
cudaError_t k_dropout(cudaStream_t st, float *x, const struct random *r, const struct random *at, double p, int n,
		      int rows, int c, bool shared);

/* ---- move.cu ---- */
cudaError_t k_multiply(cudaStream_t st, struct values y, struct values x, struct values z, int rows, int c,
		       bool shared);
cudaError_t k_add_per_sample(cudaStream_t st, struct values y, struct values x, struct values v, int n, int hw,
			     int c);
cudaError_t k_sum_per_sample(cudaStream_t st, struct values dv, struct values dy, int n, int hw, int c, int add);
cudaError_t k_copy_columns(cudaStream_t st, struct values y, int ldy, struct values x, int ldx, int rows, int cols,
			   int add);
cudaError_t k_upsample(cudaStream_t st, struct values y, struct values x, int n, int h, int w, int c);
cudaError_t k_upsample_back(cudaStream_t st, struct values dx, struct values dy, int n, int h, int w, int c, int add);
/* here ids and index are device memory */
cudaError_t k_embedding(cudaStream_t st, float *y, const struct weight *table, const int32_t *ids, int rows);
cudaError_t k_gather_rows(cudaStream_t st, struct values y, struct values x, const int32_t *index, int rows, int c);
/* adds in the order of rows where indices repeat: fixed bytes, no atomics */
cudaError_t k_gather_rows_back(cudaStream_t st, struct values dx, struct values dy, const int32_t *index, int rows,
			       int c);

/* ---- kronecker.cu ---- */
cudaError_t k_kronecker(cudaStream_t st, float *y, float scale, const float *a, const float *b,
			const struct kronecker_shape *s);
cudaError_t k_kronecker_back(cudaStream_t st, float *da, float *db, float scale, const float *dy, const float *a,
			     const float *b, const struct kronecker_shape *s, const int add[2]);

/* ---- rotate.cu ---- */
/* limit: two doubles of scratch */
cudaError_t k_rotate(cudaStream_t st, struct values y, float *r, float *room, struct values x, const float *b,
		     int rows, const struct rotations *s, double *limit);
cudaError_t k_rotate_back(cudaStream_t st, struct values dx, float *db, float *room, struct values dy,
			  struct values x, const float *b, const float *r, int rows, const struct rotations *s,
			  const int add[2], double *limit);

/* ---- attention.cu, attention_back.cu, attention_wide.cu.  Any d up to 512, any strides; 16-byte aligned rows are
 * faster.  Up to d = 160 what is multiplied is half precision, so that queries, keys and values above 65504 are Inf;
 * dout comes under a factor, as k_cast's.  Above 160 forward is in tf32, and backward slow: training has no such
 * heads. ---- */
/* both: cudaErrorInvalidValue for d > 512, for a scale that is not positive,
 * and for a causal mask where lq is not lk */
cudaError_t k_attention(cudaStream_t st, struct values o, float *lse, struct values q, struct values k,
			struct values v, const struct attention_shape *s);
cudaError_t k_attention_back(cudaStream_t st, struct values dq, struct values dk, struct values dv,
			     struct values dout, struct values o, const float *lse, struct values q, struct values k,
			     struct values v, const struct attention_shape *s, const int add[3], float *scratch);
/* floats of scratch, 16-byte aligned: n*heads*lq and a 32nd of that, and parts of dk and dv where keys are few
 * (16 MiB at most) */
size_t attention_back_scratch(const struct attention_shape *s);

/* ---- loss.cu ---- */
cudaError_t k_loss(cudaStream_t st, float *loss, const float *x, const float *target, const struct loss_terms *s);
cudaError_t k_loss_back(cudaStream_t st, float *dx, const float *dloss, const float *x, const float *target,
			const struct loss_terms *s, int add);

/* ---- optimizer.cu, adafactor.cu: all parameters of a table in one launch ---- */
/* A row is cut into runs of `each` elements, a block each; block first + k has run k. */
struct table_row { struct trained of; size_t n, each; unsigned first, blocks; };
/* In device memory, made by table.c. */
struct table {
	const struct table_row *row;
	const unsigned *row_of;         /* of each block */
	const char *steps; size_t step_size;    /* what the host knows of each row; size 0: of all */
	double *part;                   /* [blocks, sums of the rule] */
	int rows; unsigned blocks;
};
/* What each reads of a row's step.  sum: one or two for each row, partial sums added in the order of blocks. */
struct adam_factors {
	float keep, step, beta1, share1, beta2, share2, eps, root2, grad_scale, last;
	const float *maps;
};
struct root_factors { float a, eps, b; };
struct adafactor_way { float u, moment, p; };
struct adafactor_factors {
	struct adafactor_step step;
	double *mean;                   /* [outer,inner] of row over rows */
	float *row_factor, *col_factor; /* of which u is made; as many as row and col */
	double *squares;                /* [2] of u and of p */
	struct adafactor_way *way;
};
typedef cudaError_t table_fn(cudaStream_t st, const struct table *t, double *sum);
table_fn k_sum_squares;
table_fn k_axpby_all;           /* struct mix */
table_fn k_adamw, k_lion;       /* struct adam_factors; with root2 1 and eps and step changed, for codes */
table_fn k_adamw8bit;
table_fn k_estimate;            /* struct estimate_step */
table_fn k_estimate_move;       /* struct root_factors */
table_fn k_schedulefree;        /* struct schedulefree_step */
/* struct adafactor_factors, one after another; a run is 8 values of row; any number of col, of mean and of row; of
 * elements, of which there are less than 2^32; the whole parameter; of elements */
table_fn k_adafactor_rows, k_adafactor_cols, k_adafactor_means, k_adafactor_factors, k_adafactor_squares,
	k_adafactor_way, k_adafactor_move;
enum { ADAFACTOR_ROWS = 8 };

#ifdef __cplusplus
}
#endif

#endif
