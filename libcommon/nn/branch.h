/*
 * branch.h - branches of a frozen layer: y = W x + bias, and each branch, a module of an adapter, adds to y.
 *
 * Owns the list of branches on a layer, their order in forward and backward, and dropout in them.  Must not know
 * what kinds there are: each brings its functions, and adapter/kind.h has one row a kind.
 */
#ifndef NN_BRANCH_H
#define NN_BRANCH_H

#include "tape.h"

struct branch;
#define BRANCH_PARTS 8
#define BRANCH_NUMBERS 4
/* Where the parts' gradients go; add says whether to add or overwrite.  at NULL: not wanted.
 * by_input [in]: sum over rows of x * (dy W), of a trained branch whose gains.in is set; else NULL. */
struct part_grads { float *at[BRANCH_PARTS]; int add[BRANCH_PARTS]; const float *by_input; };
/* What a branch multiplies W with: its rows with out [out], its columns with in [in], one for each channel of x.  NULL:
 * it leaves them as they are; a branch sets one at most. */
struct branch_gains { const float *out, *in; };
/* A frozen layer with its branches.  Linear (shape NULL) and convolution differ in their products alone. */
struct adapted { const struct weight *w; const float *bias; struct branch *branch; const struct conv_shape *shape; };

/* W' is the weight that a branch makes of W; dW is W' - W.  NULL functions: there is nothing to do. */
struct branch_kind {
	/* Once a pass, before W x; end() takes what it returns.  gains: as set, beside which forward adds the rest. */
	void *(*begin)(struct tape *t, const struct branch *b, const struct adapted *a, struct branch_gains *gains);
	void (*end)(struct tape *t, void *pass);
	/* y += dW x, with dropout; where there are gains, what is left of it beside weight (gain - 1) W x */
	void (*forward)(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b,
			const struct adapted *a, const void *pass);
	/* from y->grad: the parts' gradients, and dx += y->grad dW.  dx.at NULL: not wanted. */
	void (*backward)(struct tape *t, const struct tensor *y, const struct tensor *x, struct values dx,
			 const struct branch *b, const struct part_grads *g, const struct adapted *a, const void *pass);
	/* Of kinds whose dW of a linear layer is a product of two narrow matrices, where is_narrow() says so of a
	 * branch: forward() and backward() in what the layer's own product makes beside it, and the parts' gradients
	 * after that, from the z that narrow_dx() left (dz).  Each z is beside y, or scratch that the caller gives
	 * back. */
	bool (*is_narrow)(const struct branch *b);
	struct narrow (*narrow)(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b,
				const struct adapted *a);
	struct narrow (*narrow_dx)(struct tape *t, const struct tensor *y, const struct branch *b);
	void (*narrow_grads)(struct tape *t, const struct tensor *y, const struct tensor *x, const float *dz,
			     const struct branch *b, const struct part_grads *g, const struct adapted *a);
	/* The same kinds: dW = scale part[up] part[down], [out,rank] and [rank,in]. */
	int up, down;
	/* Of kinds that go through the whole of dW, whose forward and backward are whole_forward() and
	 * whole_backward(): dw [out,kh,kw,in] = dW / scale; and from dw, its gradient, which may be overwritten, the
	 * parts' gradients. */
	void (*whole)(struct tape *t, float *dw, const struct branch *b, const struct weight *w);
	void (*whole_back)(struct tape *t, float *dw, const struct branch *b, const struct part_grads *g,
			   const struct weight *w);
};

/* Constants on the device that an adapter's modules share: the identity [units,units] and a row of ones, at least as
 * large as any rank, and any layer's output and input. */
struct branch_constants { const float *unit, *ones; int units; };

/* One module on its layer; next: another on the same layer. */
struct branch {
	const struct branch_kind *kind; /* what runs */
	/* what makes dW where the kind is lengths around another (adapter/lengths.h); else kind itself */
	const struct branch_kind *inner;
	/* in the kind's own order, as [n,h,w,c]; HOME_OWNER; without elements: not there */
	struct tensor part[BRANCH_PARTS];
	int rank;
	/* of dW: alpha / rank, and how strongly the file counts unless weight says it */
	float scale;
	float weight;                   /* lengths: the layer is so much of the way from W to W' */
	float norm_eps;                 /* lengths: added to a norm before it divides */
	float number[BRANCH_NUMBERS];   /* what the kind's functions know beside the parts */
	float *bias;                    /* [out], device memory: what is added to the layer's own; NULL: nothing */
	float *fixed;                   /* device memory that the kind computed from W, never trained; NULL: none */
	size_t fixed_count;             /* floats */
	const struct branch_constants *constants;       /* NULL: the kind needs none */
	const struct branch_dropout *dropout;   /* NULL: no dropout */
	uint32_t id;                    /* which module, for its draws */
	struct branch *next;
};

/* T-LoRA (arXiv 2507.05964): the noisier a sample, the fewer of the rank's components it takes part with. */
struct rank_mask {
	int least;                      /* components at the noisiest timestep; 0: no mask */
	double exponent;
	int timesteps;                  /* of the schedule */
	const float *timestep;          /* host, of the samples now; NULL: every component is there */
	int samples;
	const float *first;             /* device [most+1,most]: row k is k ones and then zeros; of at least any rank */
	int most;
};
/* min(rank, floor(((T - t) / T)^exponent (rank - least)) + least) */
int rank_at(const struct rank_mask *m, int rank, double timestep);

/* Dropout in adapters in training, shared by all modules.  Draws are functions of (seed, step, batch, module), so that
 * a checkpointed block drops the same elements when it runs again. */
struct branch_dropout {
	bool on;                        /* a step of training runs; off: no dropout */
	/* probabilities: of single values and whole columns of x down^T, and of whole modules */
	double value, rank, module;
	uint64_t seed;
	uint32_t step, batch;
	struct rank_mask mask;
};

/* ---- for layers (op_linear.c, op_conv.c) ---- */
bool adapted_trains(const struct adapted *a);
void adapted_forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct adapted *a);
/* from y->grad */
void adapted_backward(struct tape *t, const struct tensor *y, struct tensor *x, const struct adapted *a);

/* ---- for kinds ---- */
/* y = x W^T + bias, or conv(x, W) + bias */
void adapted_product(struct tape *t, struct values y, const struct tensor *x, const struct adapted *a,
		     const float *bias);
/* backward of y = x W^T:  dx = dy W; add 1: dx += */
void adapted_product_back(struct tape *t, struct values dx, struct values dy, const struct tensor *x,
			  const struct adapted *a, int add);
/* Does branch_leave_out() leave out anything now?  Can anything of it ever be left out? */
bool branch_leaves_out(const struct branch *b);
bool branch_may_leave_out(const struct branch *b);
/* Dropout in z [n,rows,rank] = x down^T, or in its gradient: dropped elements become 0.  It is its own backward. */
void branch_leave_out(struct tape *t, const struct branch *b, float *z, int n, int rows);
/* Dropout in y [rows,out] = dW x, or in its gradient: dropped outputs of dW become 0, the same ones as rows in
 * whole_forward().  It is its own backward. */
void branch_leave_out_channels(struct tape *t, const struct branch *b, float *y, int rows, int out);
/* Dropout of a kind that goes through the whole of dW [out,kh,kw,in], or of its gradient: rows become 0. */
void branch_leave_out_rows(struct tape *t, const struct branch *b, float *dw, const struct weight *w);
/* y += s x dw^T for any dw [out,kh,kw,in], and its two backwards:  dx += s dy dw, after which dw may be scaled;
 * ddw = s dy^T x */
void whole_add(struct tape *t, struct tensor *y, const struct tensor *x, const float *dw, float s,
	       const struct adapted *a);
void whole_add_back(struct tape *t, const struct tensor *y, const struct tensor *x, struct values dx, float *dw,
		    float s, const struct adapted *a);
void whole_grad(struct tape *t, float *ddw, const struct tensor *y, const struct tensor *x, float s,
		const struct adapted *a);
/* branch_kind's forward and backward through the whole of dW.  Rank dropout drops rows of dW, as LyCORIS has it. */
void whole_forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b,
		   const struct adapted *a, const void *pass);
void whole_backward(struct tape *t, const struct tensor *y, const struct tensor *x, struct values dx,
		    const struct branch *b, const struct part_grads *g, const struct adapted *a, const void *pass);

#endif
