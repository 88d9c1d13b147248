/*
 * internal.h - the device's state, and the functions of struct backend.  Private to the host side of cuda/ (*.c).
 *
 * There is one stream for what computes (and one for copies, visits.h), one cuBLAS handle with its own workspace, and
 * one scratch buffer.  Work runs in the order of the calls, so the scratch is free again for the next call, and two
 * runs do the same arithmetic in the same order.
 */
#ifndef CUDA_INTERNAL_H
#define CUDA_INTERNAL_H

#include <cublas_v2.h>
#include "kernels.h"
#include "nccl.h"
#include "nvml.h"
#include "pool.h"
#include "staging.h"
#include "step.h"
#include "visits.h"

enum { SCRATCH_BYTES = 72 << 20, WORKSPACE_BYTES = 32 << 20, SLAB_BYTES = 64 << 20 };
/* What a product of cuBLAS reads or writes of scratch lies before the workspace, which is scratch's end. */
enum { OPERANDS_BYTES = SCRATCH_BYTES - WORKSPACE_BYTES };
/* What room() leaves to cuBLAS and the driver; lora-train --plan counts it too (libcommon/train/plan/plan.c). */
enum { KEPT_BACK_BYTES = 256 << 20 };

/* Small values at fixed addresses in device memory. */
struct fixed {
	double limit[2];                /* of rotations */
	float zero, one;                /* factors for cuBLAS beside `inverse` */
	float inverse;                  /* what the product with the operand in scratch must be multiplied by */
	float cast[CAST_SCRATCH];
};

/* The operand whose cast copy is in scratch.  q, k and v are products of the same tokens, one after another: the second
 * and third reuse the copy. */
struct operand { const void *of; size_t bytes; enum dtype type; int under; };

/* The symbol that libcommon/backend.c looks up in the shared object; its size tells a backend of another build from
 * ours. */
extern const struct backend cuda_backend;
extern const size_t cuda_backend_bytes;

struct device {
	cudaStream_t stream;
	cublasHandle_t blas;
	struct pool *pool;
	struct staging *staging;
	struct steps *steps;
	char *scratch;                  /* [SCRATCH_BYTES], the last of them cuBLAS's workspace */
	struct visits *visits;          /* of weights that lie in host memory; NULL: there are none */
	struct fixed *fixed;            /* device memory: addresses are taken here, values are not */
	struct operand operand;
	bool products_ran;              /* each kind, once */
	struct nvml *nvml; bool asked;  /* opened by the first look; NULL: there is none */
	struct nccl *nccl;              /* NULL: nobody asked for it, or there is none */
};

/* Ends the program after an error of the card: nothing that follows could be trusted. */
void cuda_must(cudaError_t status, const char *what);
void blas_must(cublasStatus_t status, const char *what);
/* Checks every launch that writes memory or scratch, and forgets the cast operand, which may have changed. */
void cuda_ran(struct device *d, cudaError_t status, const char *what);
void *cuda_scratch(struct device *d, size_t bytes);     /* ends the program where that is more than there is */

/* ---- behind cuda_backend ---- */
#define OP(type, name, parameters) type cuda_##name parameters;
#include "../libcommon/backend_ops.def"
enum row_number {
#define OP(type, name, parameters) ROW_##name,
#include "../libcommon/backend_ops.def"
};

/* ---- weight.c ---- */
/* w as it is on the card until the next call; a quantised one as F16, at the end of scratch, a layer's before the
 * workspace */
struct weight cuda_weight_here(struct device *d, const struct weight *w);
/* the same of layers that are one: `count` of them, of the weight w (stacked_joined()) */
struct weight cuda_weights_here(struct device *d, const struct stacked *s, int first, int count,
				const struct weight *w);
size_t cuda_scratch_before(const struct device *d, const struct weight *here);  /* for operands, beside it */

/* ---- product.c ---- */
/* c[m,n] = factor a[m,k] op(b) + (add ? c : 0), a and b of one type, c of that or floats; transposed: b is stored
 * [n,k] */
struct product {
	enum dtype type, to;
	int m, n, k;
	const void *a, *b; int lda, ldb;
	bool transposed, add;
	bool scaled;                    /* the factor is what the last cast left on the card */
	float factor;
	void *c; int ldc;
};
void run_product(struct device *d, const struct product *p);
void run_each_product(struct device *d);        /* each kind that the backend knows, in scratch, and waits */

static inline size_t type_size(enum dtype t) { return t == DTYPE_F32 ? 4 : 2; }

#endif
