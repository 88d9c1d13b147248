/*
 * tape.h - tensors, and a tape that remembers how they were made.
 *
 * Running a network forward records one node per operation that leads to something trainable.  tape_backward() pops the
 * nodes again, newest first, and each pushes its output's gradient into its inputs.  The tape is a stack, so a checkpointed
 * block is run a second time in the middle of the way back: its nodes are pushed, popped and gone.
 *
 * Memory is one arena with two ends: what is kept lies at the low one, a block's inside at the high one.  Everything is given back as soon
 * as nobody can ask for it again: on the way back a node's output with its gradient once the node was popped, on the way there what the
 * network calls last_use() and no node holds, a block's inside at its end.  The same step takes the same addresses, so the peak is known before
 * the first step: run it once on tape_new_dry().
 *
 * Must not know networks, files or which backend runs.  Never reads device memory.
 */
#ifndef NN_TAPE_H
#define NN_TAPE_H

#include "../backend.h"

enum home {
	HOME_KEEP, HOME_SCRATCH,        /* the two ends of the arena */
	HOME_OWNER,                     /* a parameter: data and grad belong to somebody else; its gradient is always added to.  One without
					 * memory for it gets some of the tape's, until the next reset: activations are going then. */
};

struct tensor {
	float *data, *grad;             /* [n,h,w,c] in device memory; grad NULL until something was put there */
	float *beside;                  /* what the way back wants to know of how data was made: a norm's statistics; or NULL */
	int n, h, w, c;                 /* tokens: h = length, w = 1; rows = n*h*w */
	bool wants_grad;                /* trainable, or made from something trainable */
	bool has_grad;                  /* HOME_OWNER: a gradient arrived since the owner cleared this */
	int readers;                    /* nodes on the tape that will read data */
	bool last;                      /* nobody reads data after the operation that it is handed to */
	enum home home;
};

static inline int tensor_rows(const struct tensor *x)      { return x->n * x->h * x->w; }
static inline size_t tensor_count(const struct tensor *x)  { return (size_t)tensor_rows(x) * x->c; }

struct tape;
typedef struct tensor *block_fn(struct tape *t, const void *block, struct tensor *const *in);

struct tape *tape_new(const struct backend *be, struct device *d, size_t bytes, struct error *e) MUST_CHECK;
struct tape *tape_new_dry(void);                /* dry backend, endless arena: only measures */
void   tape_free(struct tape *t);               /* accepts NULL */
void   tape_reset(struct tape *t);              /* forget everything, lent gradients too: the start of a step */
size_t tape_peak(const struct tape *t);         /* most bytes of device memory ever in use */
void   tape_recording(struct tape *t, bool on);         /* off: plain inference (the default is on) */
void   tape_checkpointing(struct tape *t, bool on);     /* on: blocks keep inputs and output only, and run twice */
/* The same for a step's first blocks alone.  The last ones are the first on the way back: there is little that they could keep for later. */
void   tape_checkpoint_first(struct tape *t, size_t blocks);
size_t tape_blocks(const struct tape *t);               /* how many the step had so far */
const struct backend *tape_backend(const struct tape *t);
struct device *tape_device(const struct tape *t);

/* f(t, last_use(x)): x is read by this operation or block, and never again. */
static inline struct tensor *last_use(struct tensor *x)
{
	x->last = true;
	return x;
}

struct tensor *tensor_new(struct tape *t, int n, int h, int w, int c);          /* contents undefined */
/* A tensor of x's shape in x's own memory, with its values: where nothing is recorded and x is on its last use.  NULL: not so. */
struct tensor *tensor_over(struct tape *t, struct tensor *x);
struct tensor *tensor_from(struct tape *t, int n, int h, int w, int c, const float *host);     /* uploaded */
void tensor_download(struct tape *t, const struct tensor *x, float *host);

/* Run a block of the network.  Recording without checkpointing: just fn().  Otherwise its inside lives in scratch and only the
 * output is kept; when checkpointing, the gradient's arrival runs it again.  Blocks do not nest.  in[0..n_in): NULL entries allowed. */
#define BLOCK_INPUTS 6
struct tensor *tape_block(struct tape *t, block_fn *fn, const void *block, struct tensor *const *in, int n_in);

/* The same for a chain without skips: when nothing is recorded the output takes the input's place in memory, so a decoder's peak is its
 * largest block and not the sum of all.  Then the input must not be used again. */
struct tensor *tape_chain(struct tape *t, block_fn *fn, const void *block, struct tensor *in);

/* d(sum of seed * x)/d(everything): fills the parameters' gradients.  Of what the tape held, x alone can be read afterwards. */
void tape_backward(struct tape *t, struct tensor *x, float seed);

/* ---- for operations (op_*.c) ---- */
#define NODE_INPUTS BLOCK_INPUTS
enum { READS_OUT = 1 << NODE_INPUTS, READS_INPUTS = READS_OUT - 1 };
#define READS(i) (1 << (i))
struct node {
	void (*backward)(struct tape *t, const struct node *n);
	struct tensor *out, *in[NODE_INPUTS];
	int reads;                      /* whose data backward() reads: READS(i) of in[i], READS_OUT of out */
	const void *op;                 /* the operation's own record: a layer, or a struct from tape_keep() */
};
/* The end of every operation.  Returns out, with wants_grad set when an input wants one or trainable is true; pushes the node when
 * recording; gives back what nobody reads any more. */
struct tensor *tape_record(struct tape *t, struct tensor *out, bool trainable, struct node n);
/* The gradient to write into, made on first use beside its tensor; *add says whether to add or overwrite.  NULL: nobody wants it. */
float *tape_grad(struct tape *t, struct tensor *x, int *add);
/* The same in the place of x's data, where this node is the last to read it. */
float *tape_grad_over(struct tape *t, struct tensor *x, int *add);
/* For terms of a sum, whose gradient is the output's: x gets a copy. */
void tape_copy_grad(struct tape *t, struct tensor *x, const struct tensor *out);
/* The same for the last one that wants it: where that can be x gets the memory itself, and out has none any more. */
void tape_hand_grad(struct tape *t, struct tensor *x, struct tensor *out);
float *tensor_beside(struct tape *t, struct tensor *x, size_t n);       /* sets x->beside */
void *tape_keep(struct tape *t, const void *record, size_t bytes);      /* host copy that lives as long as tensors made now */
float *tape_scratch(struct tape *t, size_t n);          /* temporary device memory inside an operation */
void tape_scratch_give(struct tape *t, float *scratch);

#endif
