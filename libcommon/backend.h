/*
 * backend.h - where the arithmetic happens: memory, GEMM, convolution, norms, attention, activations, optimizer step.
 *
 * Owns the contract between everything above (tape, models, training) and a device.  Nothing above it knows which backend
 * runs; nothing below it knows what a UNet is.  The functions and what each promises are the rows of backend_ops.def; every
 * backend has them all, there are no fallbacks.
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
#include "base/rotation.h"
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

/* a [p,q] times b [m,taps,n] is [p*m,taps,q*n]: filters, where taps are a kernel's places. */
struct kronecker_shape { int p, q, m, n, taps; };

/* Floats that rotate() and rotate_back() work in. */
static inline size_t rotation_room(const struct rotations *s) { return (size_t)5 * s->blocks * s->size * s->size; }

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
#define OP(type, name, parameters) type (*name) parameters;
#include "backend_ops.def"
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
