/*
 * tape.h - tensors, and a tape that records a forward pass so that backward can run (reverse-mode differentiation).
 *
 * A forward pass pushes one node for each operation on something trainable.  tape_backward() pops the nodes, newest
 * first, and each adds its share to the gradients of its inputs.  With gradient checkpointing, a block of the network
 * stores only its inputs and its output.  When backward reaches such a block, the block's forward runs again: its nodes
 * are pushed onto the stack and popped from it, and backward goes on below.  The operations behind the last value that
 * backward reads compute nothing then, and have no memory: a block's last layer, of which backward reads no output.
 * Where less is to be saved at less cost, the outputs of cheap operations alone are freed after forward, and computed
 * again when backward comes to who reads them.
 *
 * Memory is one heap with two ends (heap.h).  What is kept beyond the block that makes it, such as a block's output, is
 * at the low end.  What is inside a block (its activations, their gradients, scratch) is at the high end.  Memory is
 * freed as soon as nobody reads it any more:
 *   - in forward: an activation after its last_use(), if no node will read it;
 *   - in backward: a node's output and that output's gradient, once the node was popped;
 *   - at the end of a block: all that is inside.
 * The same step gets the same addresses each time.  So its peak is known beforehand, by running it on tape_new_dry().
 *
 * Must not know networks, files or which backend runs.  Never reads device memory.
 */
#ifndef NN_TAPE_H
#define NN_TAPE_H

#include "../backend.h"

enum home {
	HOME_KEEP, HOME_SCRATCH,        /* kept at the low end of the heap; inside a block at the high end */
	HOME_OWNER,                     /* a parameter: its owner holds data and grad, and backward adds to grad.
					 * Where grad is NULL, the tape lends memory for it until the next reset;
					 * backward has freed activations by then. */
};

struct tensor {
	/* [n,h,w,c] in device memory; grad NULL until something was put there.  Floats, or what type says: then only
	 * data_of() and grad_of() know how to read them. */
	float *data, *grad;
	enum dtype type;
	int shift;                      /* the gradient lies under 2^shift, where type is not F32 */
	/* further results of forward that backward reads, such as a norm's statistics; or NULL */
	float *beside;
	int n, h, w, c;                 /* tokens: h = length, w = 1; rows = n*h*w */
	bool wants_grad;                /* trainable, or made from something trainable */
	bool has_grad;                  /* HOME_OWNER: a gradient arrived since the owner cleared this */
	int readers;                    /* nodes on the tape whose backward will read data */
	struct tensor *term;            /* of a sum: the term that backward gives a copy of its gradient; or NULL */
	bool term_has;                  /* backward: it has that copy, as nobody adds to grad any more */
	struct tensor *gate;            /* this is geglu(gate), and a layer is the first to read it: where that is the
					 * only one, its backward leaves gate's gradient at once; or NULL */
	bool last;                      /* the next operation is the last of forward that reads data: last_use() */
	bool held;                      /* what a block reads, and something else after it: last stays false there */
	enum home home;
	size_t maker;                   /* the number, in this step, of the operation that made it */
	size_t again;                   /* the node that can make data again is the stack's how manieth; 0: none */
};

static inline int tensor_rows(const struct tensor *x)      { return x->n * x->h * x->w; }
static inline size_t tensor_count(const struct tensor *x)  { return (size_t)tensor_rows(x) * x->c; }
static inline struct values data_of(const struct tensor *x)
{
	return (struct values){ x->data, x->type, 0 };
}
static inline struct values grad_of(const struct tensor *x)
{
	return (struct values){ x->grad, x->type, x->type == DTYPE_F32 ? 0 : x->shift };
}

struct tape;
typedef struct tensor *block_fn(struct tape *t, const void *block, struct tensor *const *in);

struct tape *tape_new(const struct backend *be, struct device *d, size_t bytes, struct error *e) MUST_CHECK;
struct tape *tape_new_dry(void);                /* dry backend, unlimited memory: only measures */
struct tape *tape_new_counting(struct device *d);       /* the same, on the counting backend */
void   tape_free(struct tape *t);               /* accepts NULL */
void   tape_reset(struct tape *t);              /* frees everything, lent gradients too: the start of a step */
/* tape_reset(), and the start of a step for the device, which may know steps of this key (backend_ops.def); and its
 * end.  True: the device did nothing of it.  It must begin again, and run in the same way; parameters then have the
 * gradients that they had before. */
void   tape_step_begins(struct tape *t, uint64_t key);
bool   tape_step_again(struct tape *t);
size_t tape_peak(const struct tape *t);         /* most bytes of device memory ever in use */
/* In which type tensors that are not added up along the network lie (F32 at first), and under which 2^shift their
 * gradients do where that is F16, whose range ends at 2^-24 and 65504. */
void   tape_inner(struct tape *t, enum dtype type);
enum dtype tape_inner_type(const struct tape *t);
void   tape_gradients_under(struct tape *t, int shift);
void   tape_recording(struct tape *t, bool on);         /* off: plain inference (the default is on) */
bool   tape_is_recording(const struct tape *t);         /* false too in the forward of a block that is checkpointed */
void   tape_checkpointing(struct tape *t, bool on);     /* gradient checkpointing of all blocks */
/* Norms, activations and GEGLU outside of checkpointed blocks: what they make is freed after its last_use(), and made
 * again for backward. */
void   tape_cheap_again(struct tape *t, bool on);
/* Gradient checkpointing of a step's first blocks alone.  Backward comes to the last blocks first, when little else is
 * stored: checkpointing them would hardly lower the peak. */
void   tape_checkpoint_first(struct tape *t, size_t blocks);
size_t tape_blocks(const struct tape *t);               /* blocks of this step so far */
/* The dry one (dry.h) while an operation runs whose result nobody reads. */
const struct backend *tape_backend(const struct tape *t);
struct device *tape_device(const struct tape *t);

/* f(t, last_use(x)): this operation or block is the last of the forward pass that reads x; of what a block is given,
 * the last of the block.  Nothing else in the same expression may read x, since C does not say which argument is
 * evaluated first: op_add(t, op_a(t, x), op_b(t, last_use(x))) may free x before op_a reads it.  gcc and clang differ;
 * the symptom is a NULL input. */
static inline struct tensor *last_use(struct tensor *x)
{
	x->last = !x->held;
	return x;
}

struct tensor *tensor_new(struct tape *t, int n, int h, int w, int c);          /* floats, contents undefined */
/* The same for what is not added up along the network: of the type that tape_inner() said. */
struct tensor *tensor_inner(struct tape *t, int n, int h, int w, int c);
/* A tensor of x's shape that takes over x's memory and values.  Only where nothing is recorded and this is x's last
 * use, else NULL. */
struct tensor *tensor_over(struct tape *t, struct tensor *x);
/* tensor_inner() of x's shape, where that can be in x's memory; backward of the operation must not read x. */
struct tensor *tensor_inner_over(struct tape *t, struct tensor *x);
struct tensor *tensor_from(struct tape *t, int n, int h, int w, int c, const float *host);     /* uploaded */
void tensor_download(struct tape *t, const struct tensor *x, float *host);

/* Runs a block of the network.  Recording without checkpointing: just calls fn().  Otherwise what fn() makes is freed
 * at its end, and only a copy of the output is kept; when checkpointing, backward runs fn() again.  Then what nobody
 * reads but this block is freed at the block's own last_use() of it.  Blocks do not nest.  in[0..n_in): NULL entries
 * are allowed. */
#define BLOCK_INPUTS 6
struct tensor *tape_block(struct tape *t, block_fn *fn, const void *block, struct tensor *const *in, int n_in);

/* The same for a chain of blocks without skip connections.  When nothing is recorded, the input is freed, and must not
 * be used again: the peak of a decoder is then its largest block, not the sum of all. */
struct tensor *tape_chain(struct tape *t, block_fn *fn, const void *block, struct tensor *in);

/* Runs backward from x: adds d(sum of seed * x)/d(parameter) to the gradient of each parameter.  Afterwards x alone, of
 * the tape's tensors, can still be read. */
void tape_backward(struct tape *t, struct tensor *x, float seed);

/* ---- for operations (op_*.c) ---- */
#define NODE_INPUTS BLOCK_INPUTS
enum { READS_OUT = 1 << NODE_INPUTS, READS_INPUTS = READS_OUT - 1, READS_BESIDE = READS_OUT << 1 };
#define READS(i) (1 << (i))
struct node {
	void (*backward)(struct tape *t, const struct node *n);
	/* of operations that are cheap: makes out->data again, from inputs that backward() reads too; else NULL */
	void (*again)(struct tape *t, const struct node *n);
	struct tensor *out, *in[NODE_INPUTS];
	/* the tensors whose data backward() reads: READS(i) for in[i], READS_OUT.  READS_BESIDE: it cannot do without
	 * out->beside. */
	int reads;
	const void *op;                 /* the operation's own record: a layer, or a struct from tape_keep() */
	bool slight;                    /* again() costs so little that what is half precision is always made again */
};
/* Ends every operation.  Sets out->wants_grad where an input wants a gradient or trainable is true; pushes the node
 * when recording; frees what nobody reads any more.  Returns out. */
struct tensor *tape_record(struct tape *t, struct tensor *out, bool trainable, struct node n);
/* The gradient of x to write into, allocated on first use at the same end of the heap as x; *add: 1 to add to it, 0 to
 * overwrite.  .at NULL: x wants no gradient. */
struct values tape_grad(struct tape *t, struct tensor *x, int *add);
/* The same in the memory of x's data, where this node is the last to read that. */
struct values tape_grad_over(struct tape *t, struct tensor *x, int *add);
/* For a term x of a sum, whose gradient equals the output's: adds a copy to x's gradient. */
void tape_copy_grad(struct tape *t, struct tensor *x, const struct tensor *out);
/* The same for the last term: where possible x takes over the memory of out's gradient, and out has none any more. */
void tape_hand_grad(struct tape *t, struct tensor *x, struct tensor *out);
/* Is the operation that runs the first to read x?  Its backward is then the last to add to x's gradient. */
bool tape_reads_first(const struct tape *t, const struct tensor *x);
/* In that backward, where x is a sum: where to leave x's gradient for its term, for which tape_copy_grad() then does
 * nothing.  It may be the memory of out's gradient, which out has no more.  .at NULL: nowhere, as there is no term, or
 * one that has or wants no gradient. */
struct values tape_term_grad(struct tape *t, struct tensor *x, struct tensor *out);
float *tensor_beside(struct tape *t, struct tensor *x, size_t n);       /* sets x->beside */
/* Copies a record to host memory of the tape, where it lives as long as tensors made now. */
void *tape_keep(struct tape *t, const void *record, size_t bytes);
float *tape_scratch(struct tape *t, size_t n);          /* temporary device memory inside an operation */
void tape_scratch_give(struct tape *t, float *scratch);

#endif
