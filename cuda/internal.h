/*
 * internal.h - what the host side of the CUDA backend shares: the device's state, and the functions of struct backend.
 *
 * One stream, one cuBLAS handle with its own workspace, one stretch of scratch: work runs in the order of the calls, so scratch is free
 * again for the next call, and two runs do the same arithmetic in the same order.
 */
#ifndef CUDA_INTERNAL_H
#define CUDA_INTERNAL_H

#include <cublas_v2.h>
#include "kernels.h"
#include "pool.h"
#include "staging.h"

enum { SCRATCH_BYTES = 64 << 20, WORKSPACE_BYTES = 32 << 20, SLAB_BYTES = 64 << 20 };

/* Small things at fixed addresses. */
struct fixed {
	double sum, partial[REDUCE_SCRATCH];
	float zero, one;                /* factors for cuBLAS beside `inverse` */
	float inverse;                  /* what the product with the operand in scratch must be multiplied by */
	float cast[CAST_SCRATCH];
};

/* What lies cast in scratch.  q, k and v read the same tokens, one after another: the second and third find them here. */
struct operand { const float *of; size_t count; enum dtype type; };

/* What the shared object is opened for; the size tells a backend of another build from ours. */
extern const struct backend cuda_backend;
extern const size_t cuda_backend_bytes;

struct device {
	cudaStream_t stream;
	cublasHandle_t blas;
	struct pool *pool;
	struct staging *staging;
	char *scratch;                  /* [SCRATCH_BYTES] */
	void *workspace;                /* cuBLAS's */
	void *visit; size_t visit_bytes;        /* where a weight comes that lies in host memory: room for the largest */
	struct fixed *fixed;            /* device memory: addresses are taken here, values are not */
	struct operand operand;
};

/* Ends the program unless all is well: after an error on the card nothing that follows is worth anything. */
void cuda_must(cudaError_t status, const char *what);
void blas_must(cublasStatus_t status, const char *what);
/* For every launch that writes memory or scratch: what was cast may no longer be true. */
void cuda_ran(struct device *d, cudaError_t status, const char *what);
void *cuda_scratch(struct device *d, size_t bytes);     /* ends the program where that is more than there is */

/* ---- behind cuda_backend ---- */
#define OP(type, name, parameters) type cuda_##name parameters;
#include "../libcommon/backend_ops.def"

/* ---- device.c ---- */
const void *cuda_weight(struct device *d, const struct weight *w);      /* its data on the card, until the next call */

/* ---- product.c ---- */
/* c[m,n] = factor a[m,k] op(b) + (add ? c : 0), a and b of one type; transposed: b is stored [n,k] */
struct product {
	enum dtype type;
	int m, n, k;
	const void *a, *b; int lda, ldb;
	bool transposed, add;
	float *c; int ldc;
};
void run_product(struct device *d, const struct product *p);    /* F16: factor is what the last cast left; others: 1 */

static inline size_t type_size(enum dtype t) { return t == DTYPE_F32 ? 4 : 2; }

#endif
