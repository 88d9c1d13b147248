/*
 * backend.h - where the arithmetic happens: memory, GEMM, convolution, norms, attention, activations, optimizer step.
 *
 * Owns the contract between everything above (tape, models, training) and a device.  Nothing above it knows which backend
 * runs; nothing below it knows what a UNet is.  Every backend implements every function; there are no fallbacks.
 *
 * Notation.  Pictures are [n,h,w,c] (NHWC), tokens [n,l,c]: both are rows x channels, rows = n*h*w or n*l, contiguous.
 * All pointers are device memory (except where "host" is said), float unless a struct weight says otherwise.
 * `add`: 0 overwrites the output (which may hold anything, NaN included), 1 adds to it.  Inputs and outputs do not overlap unless said.
 * n, rows, ... may be any size >= 1.  Sizes are checked by the caller; a wrong one is a bug, not an error.
 *
 * Reductions run in an order that depends on shapes alone: the same inputs give the same bytes for any number of threads.
 */
#ifndef BACKEND_H
#define BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/error.h"
#include "base/philox.h"
#include "io/dtype.h"

struct device;                  /* a backend's own state: threads, scratch, handles */

/* A matrix or filter bank.  F32, F16 or BF16; layout [out][kh][kw][in].  A frozen one is handed over by prepare(); a trainable one
 * is made by hand: F32, data set, packed NULL. */
struct weight {
	void *data;             /* [out][kh][kw][in] */
	enum dtype dtype;
	int out, in, kh, kw;    /* linear layers: kh = kw = 1 */
	void *packed;           /* the backend's own form, or NULL */
	bool on_host;           /* before prepare(): shall lie in host memory and visit the device for each product; linear layers only */
};

/* A convolution's geometry.  What lies outside the picture reads as 0, so padding on the right and at the bottom follows from oh, ow. */
struct conv_shape {
	int n, h, w;            /* input  [n,h,w,in] */
	int oh, ow;             /* output [n,oh,ow,out] */
	int stride, pad;        /* pad: rows above and columns left of the picture */
};

struct attention_shape {
	int n, heads, d;        /* head i is columns i*d .. i*d+d-1 */
	int lq, lk;             /* queries, keys */
	int ldq, ldk, ldv, ldo; /* floats from one row to the next */
	bool causal;            /* query i sees keys 0..i (lq = lk) */
	float scale;            /* 1/sqrt(d) */
};

struct norm_shape {
	int n, hw, c, groups;   /* group norm: statistics over hw and c/groups channels of one sample */
	float eps;
	bool silu;              /* y = silu(norm(x)) in one pass */
};

/* What a backend may put down between the bands of group_norm_sums(): four doubles a channel, and some more channels for whole vectors. */
static inline size_t group_sums_floats(int c) { return (size_t)8 * (c + 16); }

enum activation { ACT_SILU, ACT_GELU, ACT_QUICK_GELU };         /* x*sigmoid(x); exact (erf) GELU; x*sigmoid(1.702x) */

/* f(d) is d^2; |d|; 2c (sqrt(d^2 + c^2) - c); 2 (sqrt(d^2 + c^2) - c) */
enum loss_kind { LOSS_L2, LOSS_L1, LOSS_HUBER, LOSS_SMOOTH_L1 };

struct loss_terms {
	enum loss_kind kind;
	int n, pixels, channels;        /* x and target are [n,pixels,channels] */
	const float *weight;            /* [n] */
	const float *c;                 /* [n], above 0; NULL where the kind has none */
	const float *mask;              /* [n,pixels]; NULL: all 1 */
};

struct adamw_step {
	float lr;
	double beta1, beta2;                    /* 1 - beta2 is taken before it is rounded: in floats it is off by 1e-5 */
	float eps, decay;
	float correction1, correction2;         /* 1 - beta^t */
	float grad_scale;                       /* gradients are multiplied by it first: clipping */
};

/* Adam's moments in a byte an element: value = map[code] * absmax of its block of ADAM8_BLOCK.  Maps: 256 ascending values on the device,
 * -1..1 with map1[127] = 0 for the first moment, 0..1 for the second. */
enum { ADAM8_BLOCK = 256 };
struct adam8_moments {
	uint8_t *code1, *code2;         /* [n] */
	float *absmax1, *absmax2;       /* [ceil(n / ADAM8_BLOCK)] */
	const float *map1, *map2;
};

/* A tensor [outer,rows,cols,inner] whose squares are kept as sums over rows and over cols alone. */
struct factored_shape { int outer, rows, cols, inner; };

struct backend {
	const char *name;
	struct device *(*open)(struct error *e);                /* NULL: *e (EXIT_MEMORY) */
	void (*close)(struct device *d);                        /* accepts NULL */

	/* ---- memory ---- */
	void *(*alloc)(struct device *d, size_t bytes);         /* 64-byte aligned, contents undefined; NULL: no memory */
	void (*release)(struct device *d, void *p);             /* accepts NULL */
	size_t (*room)(struct device *d);                       /* bytes that alloc() could still give; 0: nobody counts them */
	void (*upload)(struct device *d, void *dst, const void *host, size_t bytes);
	void (*download)(struct device *d, void *host, const void *src, size_t bytes);  /* waits for all work before it */
	void (*copy)(struct device *d, float *y, const float *x, size_t n);
	void (*zero)(struct device *d, float *y, size_t n);

	/* Take over a frozen weight: host bytes in file layout [out][in][kh][kw], maybe unaligned.  w has dtype and shape; sets data and
	 * packed.  -1: no memory.  The dtype is kept (2 bytes a parameter stay 2 bytes) and widened tile by tile in use. */
	int (*prepare)(struct device *d, struct weight *w, const void *host);
	void (*unprepare)(struct device *d, struct weight *w);

	/* ---- matrix products ---- */
	/* y[rows,out] = x[rows,in] W^T + bias[out]; bias may be NULL */
	void (*linear)(struct device *d, float *y, const float *x, const struct weight *w, const float *bias, int rows);
	/* inverts y = x W^T:  dx[rows,in] = dy[rows,out] W */
	void (*linear_dx)(struct device *d, float *dx, const float *dy, const struct weight *w, int rows, int add);
	/* c[m,n] = alpha op(a)[m,k] op(b)[k,n] + beta c; row-major; ta: a is stored [k,m]; beta 0 overwrites */
	void (*gemm)(struct device *d, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb,
		     float beta, float *c, int ldc);

	/* ---- convolution, kernel kh x kw of the weight ---- */
	void (*conv2d)(struct device *d, float *y, const float *x, const struct weight *w, const float *bias, const struct conv_shape *s);
	void (*conv2d_dx)(struct device *d, float *dx, const float *dy, const struct weight *w, const struct conv_shape *s, int add);
	/* dw [out][kh][kw][in]: for an adapter's own small filters */
	void (*conv2d_dw)(struct device *d, float *dw, const float *x, const float *dy, int out, int in, int kh, int kw,
			  const struct conv_shape *s, int add);

	/* ---- norms; stats keep mean and 1/sqrt(var+eps) for the way back ---- */
	void (*group_norm)(struct device *d, float *y, float *stats /* [n,groups,2] */, const float *x, const float *gain, const float *bias,
			   const struct norm_shape *s);
	void (*group_norm_back)(struct device *d, float *dx, const float *dy, const float *x, const float *stats, const float *gain,
				const float *bias, const struct norm_shape *s, int add);
	/* The two halves of group_norm, for one sample (n 1) that never lies whole in memory.  Sums of its pixels [at, at+pixels), which come
	 * in order; at 0 begins, the end at s->hw writes stats: those of group_norm, on the CPU to the bit.  sums: group_sums_floats(c). */
	void (*group_norm_sums)(struct device *d, float *stats, float *sums, const float *x, int at, int pixels, const struct norm_shape *s);
	/* y = silu?(gain * (x - mean) * rstd + bias); hw as many as there are */
	void (*group_norm_apply)(struct device *d, float *y, const float *stats, const float *x, const float *gain, const float *bias,
				 const struct norm_shape *s);
	void (*layer_norm)(struct device *d, float *y, float *stats /* [rows,2] */, const float *x, const float *gain, const float *bias,
			   int rows, int c, float eps);
	void (*layer_norm_back)(struct device *d, float *dx, const float *dy, const float *x, const float *stats, const float *gain,
				int rows, int c, int add);

	/* ---- elementwise ---- */
	void (*activation)(struct device *d, float *y, const float *x, size_t n, enum activation kind);
	void (*activation_back)(struct device *d, float *dx, const float *dy, const float *x, size_t n, enum activation kind, int add);
	/* y[rows,c] = x[rows,0..c) * gelu(x[rows,c..2c)) */
	void (*geglu)(struct device *d, float *y, const float *x, int rows, int c);
	/* dx may be x */
	void (*geglu_back)(struct device *d, float *dx, const float *dy, const float *x, int rows, int c, int add);
	/* y = a x + b y; b 0 overwrites; y may be x */
	void (*axpby)(struct device *d, float *y, float a, const float *x, float b, size_t n);
	/* x[n,rows,c]: sets to 0 with chance p, and multiplies the rest by 1/(1-p).  Value i is gone when word i mod 4 of Philox block
	 * i/4 is below p 2^32; shared: the same for every row of a sample, i = sample*c + column. */
	void (*dropout)(struct device *d, float *x, const struct random *r, double p, int n, int rows, int c, bool shared);
	/* y = x + z */
	void (*add)(struct device *d, float *y, const float *x, const float *z, size_t n);
	/* y[rows,c] = x * z; shared: z is [c], the same for every row; y may be x */
	void (*multiply)(struct device *d, float *y, const float *x, const float *z, int rows, int c, bool shared);
	/* y[n,hw,c] = x + v[n,c]; y may be x */
	void (*add_per_sample)(struct device *d, float *y, const float *x, const float *v, int n, int hw, int c);
	/* dv[n,c] = sum over hw of dy[n,hw,c] */
	void (*sum_per_sample)(struct device *d, float *dv, const float *dy, int n, int hw, int c, int add);

	/* ---- moving ---- */
	/* y[rows, cols of ldy] = x[rows, cols of ldx] */
	void (*copy_columns)(struct device *d, float *y, int ldy, const float *x, int ldx, int rows, int cols, int add);
	void (*upsample)(struct device *d, float *y, const float *x, int n, int h, int w, int c);       /* nearest, twice: y [n,2h,2w,c] */
	void (*upsample_back)(struct device *d, float *dx, const float *dy, int n, int h, int w, int c, int add);
	/* y[i] = row ids[i] of table, widened; ids host memory */
	void (*embedding)(struct device *d, float *y, const struct weight *table, const int32_t *ids, int rows);
	/* y[i] = x[index[i]], rows of c; index host memory.  Back: dx[index[i]] += dy[i] (always adds; indices may repeat) */
	void (*gather_rows)(struct device *d, float *y, const float *x, const int32_t *index, int rows, int c);
	void (*gather_rows_back)(struct device *d, float *dx, const float *dy, const int32_t *index, int rows, int c);

	/* ---- attention: o = softmax(scale q k^T) v a head; the score matrix is never stored whole ---- */
	/* lse[n,heads,lq]: log of the sum of exponents, for the way back */
	void (*attention)(struct device *d, float *o, float *lse, const float *q, const float *k, const float *v,
			  const struct attention_shape *s);
	/* dq, dk, dv may each be NULL; add[0..2] belong to them; row strides of dq, dk, dv are ldq, ldk, ldv */
	void (*attention_back)(struct device *d, float *dq, float *dk, float *dv, const float *dout, const float *o, const float *lse,
			       const float *q, const float *k, const float *v, const struct attention_shape *s, const int add[3]);

	/* ---- loss and optimizer ---- */
	/* loss[n] = weight[n] * mean over each sample's pixels*channels elements of mask * f(x - target); accumulates in double */
	void (*loss)(struct device *d, float *loss, const float *x, const float *target, const struct loss_terms *s);
	/* dx = dloss[n] * weight[n] * mask * f'(x - target) / (pixels*channels) */
	void (*loss_back)(struct device *d, float *dx, const float *dloss, const float *x, const float *target,
			  const struct loss_terms *s, int add);
	/* the same for f = d^2 without a mask, which every usual run takes: */
	/* loss[n] = weight[n] * mean over each sample's `each` elements of (x - target)^2; accumulates in double */
	void (*mse)(struct device *d, float *loss, const float *x, const float *target, const float *weight, int n, size_t each);
	/* dx = dloss[n] * weight[n] * 2 (x - target) / each */
	void (*mse_back)(struct device *d, float *dx, const float *dloss, const float *x, const float *target, const float *weight, int n,
			 size_t each, int add);
	/* *sum, in device memory, in double, fixed order: a thousand of them are read back in one download */
	void (*sum_squares)(struct device *d, double *sum, const float *x, size_t n);
	/* torch.optim.AdamW: p *= 1 - lr*decay; m, v updated; p -= lr/c1 * m / (sqrt(v)/sqrt(c2) + eps) */
	void (*adamw)(struct device *d, float *p, float *m, float *v, const float *grad, size_t n, const struct adamw_step *s);
	/* bitsandbytes' AdamW8bit: the update takes m and v before they are coded, the decay comes last.  A negative m that is nearest to 0
	 * takes the entry below. */
	void (*adamw8bit)(struct device *d, float *p, const struct adam8_moments *q, const float *grad, size_t n, const struct adamw_step *s);
	/* p = (1 - lr*decay) p - lr sign(beta1 m + (1-beta1) g), then m = beta2 m + (1-beta2) g; eps and corrections are not read */
	void (*lion)(struct device *d, float *p, float *m, const float *grad, size_t n, const struct adamw_step *s);
	/* row [outer,rows,inner], col [outer,cols,inner]: moved by `share` towards the means of g^2 + eps over cols and over rows.
	 * u = g / sqrt(col row / (mean of row over rows)) */
	void (*adafactor)(struct device *d, float *u, float *row, float *col, const float *grad, const struct factored_shape *s,
			  double share, float eps);
	/* for optimizers that are put together of these; sums in double, fixed order, to the host */
	double (*sum_products)(struct device *d, const float *x, const float *z, size_t n);
	double (*sum_magnitudes)(struct device *d, const float *x, size_t n);
	void (*axxpby)(struct device *d, float *y, float a, const float *x, float b, size_t n);         /* y = a x^2 + b y; b 0 overwrites */
	/* y = a x / (sqrt(v) + eps) + b y; b 0 overwrites */
	void (*over_root)(struct device *d, float *y, float a, const float *x, const float *v, float eps, float b, size_t n);
};

/* "cpu"; "cuda", which lies in a shared object of its own, so that no program needs a driver to start.  NULL: *e says what exists
 * (EXIT_USAGE), or what was looked for and not found (EXIT_MEMORY).  Whether there is a card is for open() to say. */
const struct backend *backend_find(const char *name, struct error *e) MUST_CHECK;
extern const struct backend cpu_backend;
/* Takes every call and does nothing: runs a step to learn its memory, without a device and without dereferencing a pointer. */
extern const struct backend dry_backend;
/* Nothing that is handed over is read then: what the host would only compute or read for it may be left out. */
static inline bool backend_is_dry(const struct backend *be) { return be == &dry_backend; }

#endif
