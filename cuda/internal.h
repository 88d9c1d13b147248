/*
 * internal.h - what the host side of the CUDA backend shares: the device's state, and one function an entry of struct backend.
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

/* ---- device.c ---- */
struct device *cuda_open(struct error *e);
void cuda_close(struct device *d);
void *cuda_alloc(struct device *d, size_t bytes);
size_t cuda_room(struct device *d);
void cuda_release(struct device *d, void *p);
void cuda_upload(struct device *d, void *dst, const void *host, size_t bytes);
void cuda_download(struct device *d, void *host, const void *src, size_t bytes);
void cuda_copy(struct device *d, float *y, const float *x, size_t n);
void cuda_zero(struct device *d, float *y, size_t n);
int cuda_prepare(struct device *d, struct weight *w, const void *host);
void cuda_unprepare(struct device *d, struct weight *w);
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
void cuda_linear(struct device *d, float *y, const float *x, const struct weight *w, const float *bias, int rows);
void cuda_linear_dx(struct device *d, float *dx, const float *dy, const struct weight *w, int rows, int add);
void cuda_gemm(struct device *d, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb,
	       float beta, float *c, int ldc);

/* ---- conv.c ---- */
void cuda_conv2d(struct device *d, float *y, const float *x, const struct weight *w, const float *bias, const struct conv_shape *s);
void cuda_conv2d_dx(struct device *d, float *dx, const float *dy, const struct weight *w, const struct conv_shape *s, int add);
void cuda_conv2d_dw(struct device *d, float *dw, const float *x, const float *dy, int out, int in, int kh, int kw,
		    const struct conv_shape *s, int add);

static inline size_t type_size(enum dtype t) { return t == DTYPE_F32 ? 4 : 2; }

#endif
