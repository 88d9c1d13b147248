/*
 * tape.h - tensors, and a tape that remembers how they were made.
 *
 * Running a network forward records one node per operation that leads to something trainable.  tape_backward() pops the
 * nodes again, newest first, and each pushes its output's gradient into its inputs.  The tape is a stack, so a checkpointed
 * block is run a second time in the middle of the way back: its nodes are pushed, popped and gone.
 *
 * Memory is one arena with two ends: kept tensors grow up, a block's scratch grows down and is released whole.  The same
 * step takes the same addresses, so the peak is known before the first step: run it once on tape_new_dry().
 *
 * Must not know networks, files or which backend runs.  Never reads device memory.
 */
#ifndef NN_TAPE_H
#define NN_TAPE_H

#include "../backend.h"

enum home {
	HOME_KEEP, HOME_SCRATCH,        /* the two ends of the arena */
	HOME_OWNER,                     /* a parameter: data and grad belong to somebody else; its gradient is always added to */
};

struct tensor {
	float *data, *grad;             /* [n,h,w,c] in device memory; grad NULL until something was put there */
	int n, h, w, c;                 /* tokens: h = length, w = 1; rows = n*h*w */
	bool wants_grad;                /* trainable, or made from something trainable */
	bool has_grad;                  /* HOME_OWNER: a gradient arrived since the owner cleared this */
	enum home home;
};

static inline int tensor_rows(const struct tensor *x)      { return x->n * x->h * x->w; }
static inline size_t tensor_count(const struct tensor *x)  { return (size_t)tensor_rows(x) * x->c; }

struct tape;
typedef struct tensor *block_fn(struct tape *t, const void *block, struct tensor *const *in);

struct tape *tape_new(const struct backend *be, struct device *d, size_t bytes, struct error *e) MUST_CHECK;
struct tape *tape_new_dry(void);                /* dry backend, endless arena: only measures */
void   tape_free(struct tape *t);               /* accepts NULL */
void   tape_reset(struct tape *t);              /* forget everything: the start of a step */
size_t tape_peak(const struct tape *t);         /* most bytes of device memory ever in use */
void   tape_recording(struct tape *t, bool on);         /* off: plain inference (the default is on) */
void   tape_checkpointing(struct tape *t, bool on);     /* on: blocks keep inputs and output only, and run twice */
const struct backend *tape_backend(const struct tape *t);
struct device *tape_device(const struct tape *t);

struct tensor *tensor_new(struct tape *t, int n, int h, int w, int c);          /* contents undefined */
struct tensor *tensor_from(struct tape *t, int n, int h, int w, int c, const float *host);     /* uploaded */
void tensor_download(struct tape *t, const struct tensor *x, float *host);

/* Run a block of the network.  Recording without checkpointing: just fn().  Otherwise its inside lives in scratch and only the
 * output is kept; when checkpointing, the gradient's arrival runs it again.  Blocks do not nest.  in[0..n_in): NULL entries allowed. */
#define BLOCK_INPUTS 6
struct tensor *tape_block(struct tape *t, block_fn *fn, const void *block, struct tensor *const *in, int n_in);

/* The same for a chain without skips: when nothing is recorded the output takes the input's place in memory, so a decoder's peak is its
 * largest block and not the sum of all.  Then the input must not be used again. */
struct tensor *tape_chain(struct tape *t, block_fn *fn, const void *block, struct tensor *in);

/* d(sum of seed * x)/d(everything): fills gradients of what x was made from. */
void tape_backward(struct tape *t, struct tensor *x, float seed);

/* ---- for operations (op_*.c) ---- */
#define NODE_INPUTS BLOCK_INPUTS
struct node {
	void (*backward)(struct tape *t, const struct node *n);
	struct tensor *out, *in[NODE_INPUTS];
	const void *op;                 /* the operation's own record: a layer, or a struct from tape_keep() */
};
/* Returns out, with wants_grad set when an input wants one or trainable is true; pushes the node when recording. */
struct tensor *tape_record(struct tape *t, struct tensor *out, bool trainable, struct node n);
/* The gradient to write into, made on first use beside its tensor; *add says whether to add or overwrite.  NULL: nobody wants it. */
float *tape_grad(struct tape *t, struct tensor *x, int *add);
float *tape_floats(struct tape *t, size_t n);           /* device memory at the end where tensors go now */
void *tape_keep(struct tape *t, const void *record, size_t bytes);      /* host copy that lives as long as tensors made now */
/* Take gradients (tape_grad) before the mark: one made after it would be released with the scratch. */
size_t tape_scratch_mark(const struct tape *t);         /* temporary device memory inside a backward: */
float *tape_scratch(struct tape *t, size_t n);          /*   mark, take, release */
void tape_scratch_release(struct tape *t, size_t mark);

#endif
