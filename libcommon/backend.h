/*
 * backend.h - the interface to a device: memory, matrix products, convolution, norms, attention, activations, losses,
 * optimizer steps.
 * A backend is an implementation: cpu/, cuda/, or the dry one (nn/dry.h).  Nothing above this header knows which one
 * runs; nothing below it knows what a UNet is.  The functions and what each promises are the rows of backend_ops.def.
 * Every backend has all of them; there are no fallbacks.
 *
 * Notation.  Pictures are [n,h,w,c] (NHWC), tokens [n,l,c]: both are rows x channels, rows = n*h*w or n*l, contiguous.
 * All pointers are device memory (except where "host" is said), float unless a struct weight or struct values says
 * otherwise.
 * `add`: 0 overwrites the output (which may hold anything, NaN included), 1 adds to it.  Inputs and outputs do not
 * overlap unless said.  n, rows, ... may be any size >= 1.  Sizes are checked by the caller; a wrong one is a bug, not
 * an error.
 *
 * Reductions run in an order that depends on shapes alone: the same inputs give the same bytes for any number of
 * threads.
 */
#ifndef BACKEND_H
#define BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/error.h"
#include "base/nf4.h"
#include "base/philox.h"
#include "base/rotation.h"
#include "io/dtype.h"

struct device;                  /* a backend's own state: threads, scratch, handles */
struct rank_piece;              /* ranks/mover.h's */
struct rank_place;

/* Activations or their gradients: what stands at `at` is 2^shift times the value, in the type.  F32 has shift 0. */
struct values { void *at; enum dtype type; int shift; };

static inline struct values f32(const float *at)
{
	struct values v = { (void *)at, DTYPE_F32, 0 };

	return v;
}

/* From value n on. */
static inline struct values values_from(struct values v, size_t n)
{
	v.at = (char *)v.at + n * (v.type == DTYPE_F32 ? 4 : 2);
	return v;
}

/* What inner() says on a card: half precision, as products' operands have the weights' type there.  Its attention knows
 * heads of up to 160 columns in it. */
enum { HALF_HEAD_MOST = 160 };
static inline enum dtype inner_on_card(enum dtype weights, int head)
{
	const bool half = weights == DTYPE_F16 || weights == DTYPE_BF16;

	return half && head <= HALF_HEAD_MOST ? weights : DTYPE_F32;
}

/* At the border of what computes with floats alone. */
static inline float *floats_at(struct values v)
{
	if (v.type != DTYPE_F32)
		die(EXIT_OTHER, "values that are no floats, where only floats are known; this is a bug in lora-tools");
	return (float *)v.at;
}

/* A matrix, or a convolution's filters.  F32, F16 or BF16; layout [out][kh][kw][in].  A frozen weight is handed over by
 * prepare(); a trainable one is filled in by its owner: F32, data set.
 * A frozen one of a linear layer or convolution may be quantised: each number is a code of 8 or 4 bits times a scale,
 * in float.  The scales, floats, lie behind the codes, at weight_scales_at().
 *   I8, F8_E4M3  the code is a number of that type; a scale for each of out
 *   U8           NF4 (base/nf4.h): the code is a place in nf4_values, two of them a byte, the first in the upper half;
 *                a scale for each NF4_BLOCK numbers in a row, the last ones perhaps fewer */
struct weight {
	void *data;             /* [out][kh][kw][in] */
	enum dtype dtype;
	int out, in, kh, kw;    /* linear layers: kh = kw = 1 */
	/* set before prepare(): stay in host memory, and come to the device whenever something reads it */
	bool on_host;
	/* set before prepare(), as data is: the numbers are to lie there, in memory that is not the weight's own */
	bool placed;
	/* set by prepare(): a linear layer's numbers lie [out/panel][in][panel], as its products read them; or 0 */
	int panel;
};

static inline bool is_quantised(enum dtype t) { return t == DTYPE_I8 || t == DTYPE_F8_E4M3 || t == DTYPE_U8; }

static inline size_t weight_count(const struct weight *w) { return (size_t)w->out * w->kh * w->kw * w->in; }

/* Bytes of the numbers or codes, and those up to the scales of a quantised weight. */
static inline size_t weight_codes(const struct weight *w)
{
	const size_t size = w->dtype == DTYPE_F32 ? 4 : is_quantised(w->dtype) ? 1 : 2;

	return w->dtype == DTYPE_U8 ? (weight_count(w) + 1) / 2 : weight_count(w) * size;
}
static inline size_t weight_scales_at(const struct weight *w) { return (weight_codes(w) + 63) / 64 * 64; }

static inline size_t weight_scales(const struct weight *w)
{
	return w->dtype == DTYPE_U8 ? (weight_count(w) + NF4_BLOCK - 1) / NF4_BLOCK : (size_t)w->out;
}

static inline size_t weight_bytes(const struct weight *w)
{
	return is_quantised(w->dtype) ? weight_scales_at(w) + weight_scales(w) * sizeof(float) : weight_codes(w);
}

/* A product of two narrow matrices that linear() and linear_dx() add to their own: scale z by^T with by [out,rank], and
 * scale z by with by [rank,in].  z [rows,rank] is given; or, where from is, made before: first x from^T with from
 * [rank,in], first dy from with from [out,rank]. */
struct narrow { float *z; const float *by; int rank; float scale; const float *from; float first; };

/* Linear layers of one input, whose outputs lie beside each other: each makes w->out columns, behind those before it.
 * A card multiplies at once by weights that lie one behind the other.  more may be NULL. */
enum { STACKED_MOST = 3 };
struct stacked_layer { const struct weight *w; const float *bias; const struct narrow *more; };
struct stacked { struct stacked_layer of[STACKED_MOST]; int count; };

static inline int stacked_out(const struct stacked *s)
{
	int out = 0;

	for (int i = 0; i < s->count; i++)
		out += s->of[i].w->out;
	return out;
}

/* Bytes of half precision that quantised weights become at once, at most. */
enum { WIDENED_MOST = 16 << 20 };

/* May `next` be one with those before it, of the weight w?  visiting: bytes from host memory that find room at once.
 * Quantised ones have as many bytes as that weight, where no codes need filling up. */
static inline bool stacked_joins(const struct weight *w, const struct weight *next, size_t visiting)
{
	if (next->dtype != w->dtype || next->on_host != w->on_host)
		return false;
	if (is_quantised(w->dtype) && (weight_codes(w) < weight_scales_at(w) ||
				       (weight_count(w) + weight_count(next)) * 2 > WIDENED_MOST))
		return false;
	if (w->on_host)
		return weight_bytes(w) + weight_bytes(next) <= visiting;
	return is_quantised(w->dtype) || (char *)next->data == (char *)w->data + weight_bytes(w);
}

/* Layers from `first` on are one, of the weight *w, where their weights lie one behind the other, come there from host
 * memory, or are made there of codes.  Returns how many. */
static inline int stacked_joined(const struct stacked *s, int first, size_t visiting, struct weight *w)
{
	int n = 1;

	*w = *s->of[first].w;
	while (first + n < s->count && stacked_joins(w, s->of[first + n].w, visiting))
		w->out += s->of[first + n++].w->out;
	return n;
}

/* Gradients of both factors of such a product: dup [out,rank] = scale dy^T z, ddown [rank,in] = dz^T x.  Each may be
 * NULL, and so may then what it is made of.  ldy: from one row of dy to the next. */
struct narrow_grads {
	float *dup, *ddown; int add_up, add_down;
	struct values dy, x; const float *z, *dz;
	int rows, out, in, rank, ldy; float scale;
};
struct stacked_grads { struct narrow_grads of[STACKED_MOST]; int count; };      /* of the same rows */

/* A convolution's geometry.  Pixels outside the picture read as 0, so the padding on the right and at the bottom
 * follows from oh and ow. */
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

/* Floats of the buffer in which group_norm_sums() carries its sums from one call to the next: sum and sum of squares of
 * each channel, in double, for the finished runs of pixels and for the unfinished one.  16 channels are added because
 * vector code pads c. */
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

/* A tensor [outer,rows,cols,inner] of whose squares only the sums over rows and over cols are stored (Adafactor). */
struct factored_shape { int outer, rows, cols, inner; };

/* A parameter in the table that an optimizer works through.  A table lies in host memory and is read before the call
 * returns.  It may hold any of the parameters, or parts of them that begin at a multiple of ADAM8_BLOCK (Adafactor
 * takes whole ones); what its rows write must not overlap. */
enum { TRAINED_STATES = 4 };
struct trained {
	float *p;                       /* the weights */
	const float *grad;
	void *state[TRAINED_STATES];     /* floats but for AdamW8bit's codes; the operation names them in order */
	size_t n;
	struct factored_shape shape;    /* Adafactor's */
};

/* Adam's moments in one byte an element: value = map[code] * absmax of its block of ADAM8_BLOCK elements.  A map is 256
 * ascending values on the device: -1..1 with map[127] = 0 for the first moment, then 0..1 for the second. */
enum { ADAM8_BLOCK = 256 };

struct adamw_step {
	float lr;
	/* doubles, so that 1 - beta2 is computed before rounding: in floats it would be off by 1e-5 */
	double beta1, beta2;
	float eps, decay;
	float correction1, correction2;         /* 1 - beta^t */
	float grad_scale;                       /* gradients are multiplied by it first: clipping */
};

/* y becomes fresh x + keep y; keep 0 overwrites */
struct mix { float fresh, keep; };

/* of Prodigy and D-Adaptation, the same for all parameters: g = grad_scale grad + decay p */
struct estimate_step { float grad_scale, decay, eps; struct mix m, v, s; };

/* g = grad_scale grad; way = root g / (sqrt(v) + eps) + decay p; p goes on by `step` times it, z by z_step */
struct schedulefree_step { float grad_scale, root, eps, decay, step, z_step; struct mix v, p; };

struct adafactor_step {
	double share;                   /* of today's squares in the means */
	double size, least_scale;       /* of a step, where scaled is set times the weights' root mean square, or
					 * times least_scale if that is more */
	bool scaled;
	double clip, beta1, decay;      /* beta1: where there is a first moment */
	float eps, grad_scale;
};

/* What a device is doing, as its driver tells it: the figures, why it computes slower than it could, and who else
 * computes on it. */
enum device_figure {
	USE_BUSY,                       /* per cent of the last moments (up to a second) in which it computed at all */
	USE_MEMORY, USE_MEMORY_MOST,    /* bytes that all programs on it hold, and that there are */
	USE_WATTS, USE_WATTS_MOST,      /* drawn, and the limit that is set */
	USE_MHZ, USE_MHZ_MOST,          /* the clock of its processors, and the highest that it has */
	USE_FIGURES
};
enum { SLOWED_BY_POWER = 1, SLOWED_BY_HEAT = 2, SLOWED_BY_SUPPLY = 4, SLOWED_BY_HARDWARE = 8 };
struct device_use {
	double figure[USE_FIGURES];     /* NaN: not told */
	unsigned slowed;                /* SLOWED_BY_... */
	int others;                     /* other programs that compute on it */
	struct { long pid; char name[32]; } other;      /* the first of them; 0 and "": not known */
	double others_bytes;            /* that they hold; NaN: not told */
};

/* What a device tells those of other ranks before they are joined, so that they find each other. */
struct invitation {
	char card[32];                  /* two ranks' with the same one cannot be joined */
	char engine[32];                /* "NCCL 2.28.9" */
	char meeting[128];              /* the first rank's is taken by all */
};

struct backend {
	const char *name;
#define OP(type, name, parameters) type (*name) parameters;
#include "backend_ops.def"
};

/* Finds "cpu" or "cuda".  The latter is a shared object of its own, so that no program needs a driver to start.  NULL:
 * *e lists the names (EXIT_USAGE), or says what was not found (EXIT_MEMORY).  Only open() finds out if there is a
 * card. */
const struct backend *backend_find(const char *name, struct error *e) MUST_CHECK;
extern const struct backend cpu_backend;
/* Bytes that products of the CPU take for themselves on so many threads, at most, where narrow ones of that rank join
 * them (0: none do), whose narrow_grads() leave up factors of at most `turned` numbers; and conv2d() or conv2d_dx(),
 * whichever takes more.  Both are one scratch memory, of the larger size. */
size_t cpu_product_scratch(int rank, size_t turned, int threads);
size_t cpu_conv2d_scratch(const struct weight *w, const struct conv_shape *s, int threads);
/* Accepts every call and does nothing, without a device and without dereferencing a pointer: a step that runs on it
 * shows how much memory a real one needs. */
extern const struct backend dry_backend;
/* The same, and counts what the CUDA backend would do (nn/counting.h). */
extern const struct backend counting_backend;
/* These two read nothing that they are given, so the host need not compute or read it. */
static inline bool backend_is_dry(const struct backend *be) { return be == &dry_backend || be == &counting_backend; }

#endif
