/* The tape: recording a forward pass, backward, gradient checkpointing, and memory for both. */
#include <stdlib.h>
#include <string.h>
#include "arena.h"
#include "dry.h"
#include "heap.h"
#include "../base/memory.h"
#include "tape.h"

#define DRY_BYTES   ((size_t)1 << 46)
#define DRY_BASE    ((void *)4096)              /* an address that nobody dereferences */
#define HOST_BYTES  ((size_t)64 << 20)          /* for structs of tensors; pages are touched only as far as used */

struct tape {
	const struct backend *be;
	struct device *device;
	void *memory;
	struct heap heap;
	struct arena host;              /* records in host memory; its ends are used like those of the heap */
	enum home home;                 /* where new tensors go: HOME_KEEP or HOME_SCRATCH */
	bool recording, in_block, cheap_again;
	enum dtype inner;
	int shift;
	size_t checkpoint_first, blocks;
	size_t made;                    /* operations of this step so far */
	size_t last_read;               /* the last one in this block of which backward reads something */
	size_t end;                     /* nobody reads what operations behind this one make; mostly SIZE_MAX */
	struct node *node;
	size_t nodes, capacity;
	const struct tensor *result;    /* the tensor that backward started from, which stays readable */
	struct tensor **borrower;       /* parameters whose gradient is in the tape's memory */
	size_t borrowers, borrower_capacity;
	struct tensor **arrived;        /* parameters that had no gradient before this step */
	size_t arrivals, arrived_capacity;
};

static struct tape *new_tape(const struct backend *be, struct device *d, void *memory, size_t bytes)
{
	struct tape *t = xcalloc(1, sizeof(*t));

	t->be = be;
	t->device = d;
	t->memory = memory;
	t->recording = true;
	t->end = SIZE_MAX;
	heap_init(&t->heap, memory, bytes);
	arena_init(&t->host, xmalloc(HOST_BYTES), HOST_BYTES);
	return t;
}

struct tape *tape_new(const struct backend *be, struct device *d, size_t bytes, struct error *e)
{
	void *memory = be->alloc(d, bytes);

	if (!memory) {
		fail(e, EXIT_MEMORY, "no memory for %.2f GiB of activations; "
				     "choose a smaller resolution or batch, or --gradient-checkpointing",
		     bytes / 1073741824.0);
		return NULL;
	}
	return new_tape(be, d, memory, bytes);
}

struct tape *tape_new_dry(void)
{
	return new_tape(&dry_backend, NULL, DRY_BASE, DRY_BYTES);
}

struct tape *tape_new_counting(struct device *d)
{
	return new_tape(&counting_backend, d, DRY_BASE, DRY_BYTES);
}

static void drop_borrowed_gradients(struct tape *t)
{
	while (t->borrowers) {
		struct tensor *x = t->borrower[--t->borrowers];
		x->grad = NULL;
		x->has_grad = false;
	}
}

void tape_free(struct tape *t)
{
	if (!t)
		return;
	drop_borrowed_gradients(t);
	t->be->release(t->device, t->memory);
	heap_free(&t->heap);
	free(t->host.base);
	free(t->node);
	free(t->borrower);
	free(t->arrived);
	free(t);
}

void tape_reset(struct tape *t)
{
	drop_borrowed_gradients(t);
	heap_clear(&t->heap);
	arena_reset(&t->host);
	t->nodes = t->blocks = t->made = t->arrivals = 0;
	t->result = NULL;
	t->home = HOME_KEEP;
}

void tape_step_begins(struct tape *t, uint64_t key)
{
	tape_reset(t);
	t->be->step_begin(t->device, key);
}

bool tape_step_again(struct tape *t)
{
	const bool again = t->be->step_end(t->device);

	while (again && t->arrivals)
		t->arrived[--t->arrivals]->has_grad = false;
	return again;
}

size_t tape_peak(const struct tape *t)                  { return t->heap.peak; }
void tape_recording(struct tape *t, bool on)            { t->recording = on; }
bool tape_is_recording(const struct tape *t)             { return t->recording; }
void tape_checkpointing(struct tape *t, bool on)        { t->checkpoint_first = on ? SIZE_MAX : 0; }
void tape_cheap_again(struct tape *t, bool on)          { t->cheap_again = on; }
void tape_inner(struct tape *t, enum dtype type)         { t->inner = type; }
enum dtype tape_inner_type(const struct tape *t)        { return t->inner; }
void tape_gradients_under(struct tape *t, int shift)    { t->shift = shift; }
void tape_checkpoint_first(struct tape *t, size_t n)    { t->checkpoint_first = n; }
size_t tape_blocks(const struct tape *t)                { return t->blocks; }
struct device *tape_device(const struct tape *t)        { return t->device; }

/* The operation that runs, or else the next one: does nobody read what it makes? */
static bool is_unread(const struct tape *t)
{
	return t->made >= t->end;
}

const struct backend *tape_backend(const struct tape *t)
{
	return is_unread(t) ? &dry_backend : t->be;
}

static void must(const void *p, size_t size)
{
	if (!p)
		die(EXIT_MEMORY, "an arena of %zu bytes is full; this step needs more than was measured", size);
}

static void *take(struct tape *t, size_t bytes, enum heap_kind kind)
{
	void *p = heap_take(&t->heap, kind, bytes);

	must(p, t->heap.size);
	return p;
}

static size_t bytes_of(const struct tensor *x)
{
	return tensor_count(x) * dtype_size(x->type);
}

static enum heap_kind kind_of(enum home home)
{
	return home == HOME_SCRATCH ? HEAP_INSIDE : HEAP_KEPT;
}

static void give(struct tape *t, float **p)
{
	heap_give(&t->heap, *p);
	*p = NULL;
}

void *tape_keep(struct tape *t, const void *record, size_t bytes)
{
	void *p = t->home == HOME_KEEP ? arena_keep(&t->host, bytes) : arena_scratch(&t->host, bytes);

	must(p, t->host.size);
	return memcpy(p, record, bytes);
}

float *tape_scratch(struct tape *t, size_t n)
{
	return take(t, n * sizeof(float), HEAP_INSIDE);
}

void tape_scratch_give(struct tape *t, float *scratch)
{
	heap_give(&t->heap, scratch);
}

static struct tensor *new_tensor(struct tape *t, enum dtype type, int n, int h, int w, int c)
{
	struct tensor x = { .type = type, .shift = type == DTYPE_F16 ? t->shift : 0, .n = n, .h = h, .w = w, .c = c,
			    .home = t->home, .maker = t->made + 1 };

	x.data = take(t, bytes_of(&x), kind_of(t->home));
	return tape_keep(t, &x, sizeof(x));
}

struct tensor *tensor_new(struct tape *t, int n, int h, int w, int c)
{
	return new_tensor(t, DTYPE_F32, n, h, w, c);
}

struct tensor *tensor_inner(struct tape *t, int n, int h, int w, int c)
{
	return new_tensor(t, t->inner, n, h, w, c);
}

/* Would x's memory be freed by the operation that runs, if backward of that does not read x? */
static bool is_free_next(const struct tape *t, const struct tensor *x)
{
	return x->data && x->last && !x->readers && x->home == t->home;
}

static struct tensor *take_over(struct tape *t, struct tensor *x)
{
	const struct tensor y = { .n = x->n, .h = x->h, .w = x->w, .c = x->c, .type = x->type, .shift = x->shift,
				  .home = t->home, .data = x->data, .maker = t->made + 1 };

	x->data = NULL;
	return tape_keep(t, &y, sizeof(y));
}

struct tensor *tensor_over(struct tape *t, struct tensor *x)
{
	return !t->recording && is_free_next(t, x) ? take_over(t, x) : NULL;
}

struct tensor *tensor_inner_over(struct tape *t, struct tensor *x)
{
	if (x->type == t->inner && is_free_next(t, x))
		return take_over(t, x);
	return tensor_inner(t, x->n, x->h, x->w, x->c);
}

float *tensor_beside(struct tape *t, struct tensor *x, size_t n)
{
	return x->beside = take(t, n * sizeof(float), kind_of(x->home));
}

struct tensor *tensor_from(struct tape *t, int n, int h, int w, int c, const float *host)
{
	struct tensor *x = tensor_new(t, n, h, w, c);

	tape_backend(t)->upload(t->device, x->data, host, tensor_count(x) * sizeof(float));
	return x;
}

void tensor_download(struct tape *t, const struct tensor *x, float *host)
{
	t->be->download(t->device, host, floats_at(data_of(x)), tensor_count(x) * sizeof(float));
}

static struct values parameter_grad(struct tape *t, struct tensor *x, int *add)
{
	if (!x->grad) {
		GROW(t->borrower, t->borrowers, t->borrower_capacity);
		t->borrower[t->borrowers++] = x;
		x->grad = take(t, bytes_of(x), HEAP_PILED);
	}
	*add = x->has_grad;
	if (!x->has_grad) {
		GROW(t->arrived, t->arrivals, t->arrived_capacity);
		t->arrived[t->arrivals++] = x;
	}
	x->has_grad = true;
	return grad_of(x);
}

struct values tape_grad(struct tape *t, struct tensor *x, int *add)
{
	if (!x || !x->wants_grad)
		return f32(NULL);
	if (x->home == HOME_OWNER)
		return parameter_grad(t, x, add);
	if (x->term_has)
		die(EXIT_OTHER, "a gradient grows that was complete; this is a bug in lora-tools");
	*add = x->grad != NULL;
	if (!x->grad)
		x->grad = take(t, bytes_of(x), kind_of(x->home));
	return grad_of(x);
}

struct values tape_grad_over(struct tape *t, struct tensor *x, int *add)
{
	if (x->wants_grad && x->home != HOME_OWNER && !x->grad && x->last && x->readers == 1) {
		x->grad = x->data;
		x->data = NULL;
	}
	*add = 0;
	return x->grad && !x->data ? grad_of(x) : tape_grad(t, x, add);
}

/* May x take over the gradient of y?  A kept tensor may not take one that is inside a block: that is freed first. */
static bool may_inherit(const struct tape *t, const struct tensor *x, const struct tensor *y)
{
	return x->home != HOME_OWNER && !x->grad && x->type == y->type &&
	       (x->home == HOME_SCRATCH || !heap_is_inside(&t->heap, y->grad));
}

void tape_copy_grad(struct tape *t, struct tensor *x, const struct tensor *out)
{
	int add = 0;
	const struct values dx = out->term_has && x == out->term ? f32(NULL) : tape_grad(t, x, &add);

	if (dx.at)
		t->be->axpby(t->device, dx, 1, grad_of(out), add, tensor_count(out));
}

void tape_hand_grad(struct tape *t, struct tensor *x, struct tensor *out)
{
	if (!x->wants_grad || !may_inherit(t, x, out)) {
		tape_copy_grad(t, x, out);
		return;
	}
	x->grad = out->grad;
	out->grad = NULL;
}

bool tape_reads_first(const struct tape *t, const struct tensor *x)
{
	return x->maker == t->made;
}

struct values tape_term_grad(struct tape *t, struct tensor *x, struct tensor *out)
{
	struct tensor *term = x->term;
	int add = 0;

	if (!term || !term->wants_grad || term->grad || term->home == HOME_OWNER)
		return f32(NULL);
	x->term_has = true;
	if (!may_inherit(t, term, out))
		return tape_grad(t, term, &add);
	term->grad = out->grad;
	out->grad = NULL;
	return grad_of(term);
}

static void give_if_unread(struct tape *t, struct tensor *x)
{
	if (x && x->last && !x->readers && x->home != HOME_OWNER)
		give(t, &x->data);
}

/* The same in forward, where what can be made again need not wait for its readers. */
static void give_after_forward(struct tape *t, struct tensor *x)
{
	if (x && x->last && x->again)
		give(t, &x->data);
	else
		give_if_unread(t, x);
}

static void make_again(struct tape *t, struct tensor *x)
{
	const struct node *n;

	if (x->data || !x->again)
		return;
	n = &t->node[x->again - 1];
	for (int i = 0; i < NODE_INPUTS; i++)
		if (n->in[i])
			make_again(t, n->in[i]);
	x->data = take(t, bytes_of(x), kind_of(x->home));
	n->again(t, n);
}

/* Backward will read these, now or when the block that runs is run again. */
static void note_reads(struct tape *t, const struct node *n)
{
	for (int i = 0; i < NODE_INPUTS; i++)
		if (n->in[i] && n->reads & READS(i) && n->in[i]->maker > t->last_read)
			t->last_read = n->in[i]->maker;
	if (n->reads & (READS_OUT | READS_BESIDE))
		t->last_read = t->made + 1;
}

/* What floats compute stays as fast as it is. */
static bool may_be_again(const struct tape *t, const struct tensor *out, const struct node *n)
{
	const bool wanted = t->cheap_again || (n->slight && out->type != DTYPE_F32);

	return wanted && n->again && out->home == HOME_KEEP;
}

/* An operation on frozen tensors alone records no node, and so costs nothing in backward. */
struct tensor *tape_record(struct tape *t, struct tensor *out, bool trainable, struct node n)
{
	int i;

	if (is_unread(t)) {
		give(t, &out->data);
		give(t, &out->beside);
	}
	out->maker = t->made + 1;
	out->wants_grad = trainable;
	for (i = 0; i < NODE_INPUTS; i++)
		out->wants_grad |= n.in[i] && n.in[i]->wants_grad;
	if (out->wants_grad)
		note_reads(t, &n);
	t->made++;
	if (t->recording && out->wants_grad) {
		GROW(t->node, t->nodes, t->capacity);
		n.out = out;
		t->node[t->nodes++] = n;
		for (i = 0; i < NODE_INPUTS; i++)
			if (n.in[i] && n.reads & READS(i))
				n.in[i]->readers++;
		out->readers = (n.reads & READS_OUT) != 0;
		out->again = may_be_again(t, out, &n) ? t->nodes : 0;
	} else {
		give(t, &out->beside);
	}
	for (i = 0; i < NODE_INPUTS; i++)
		give_after_forward(t, n.in[i]);
	return out;
}

/* Runs a node's backward and frees its tensors.  The nodes that read n->out were popped before this one. */
static void pop(struct tape *t, const struct node *n)
{
	struct tensor *out = n->out;
	int i;

	if (!(n->reads & READS_OUT) && out != t->result)
		give(t, &out->data);
	for (i = 0; i < NODE_INPUTS && out->grad; i++)
		if (n->in[i] && n->reads & READS(i))
			make_again(t, n->in[i]);
	if (out->grad)
		n->backward(t, n);
	if (out != t->result)
		give(t, &out->data);
	give(t, &out->grad);
	give(t, &out->beside);
	for (i = 0; i < NODE_INPUTS; i++)
		if (n->in[i] && n->reads & READS(i)) {
			n->in[i]->readers--;
			give_if_unread(t, n->in[i]);
		}
}

static void pop_until(struct tape *t, size_t first)
{
	while (t->nodes > first) {
		const struct node n = t->node[--t->nodes];
		pop(t, &n);
	}
}

void tape_backward(struct tape *t, struct tensor *x, float seed)
{
	size_t i, count = tensor_count(x);
	float *host = xmalloc(count * sizeof(*host));
	int add;

	if (!x->wants_grad)
		die(EXIT_OTHER, "nothing below this loss is trainable");
	for (i = 0; i < count; i++)
		host[i] = seed;
	t->be->upload(t->device, floats_at(tape_grad(t, x, &add)), host, count * sizeof(*host));
	free(host);
	t->result = x;
	pop_until(t, 0);
}

/* ---- blocks ---- */

/* read: its operations up to the last one of which backward reads something */
struct block { block_fn *fn; const void *what; size_t read; };

/* Runs a block with everything it makes at the high end.  The caller frees that, and resets the host arena to *mark.
 * recording: for backward, with the operations alone that it needs. */
static struct tensor *run_in_scratch(struct tape *t, const struct block *b, struct tensor *const *in, bool recording,
				     size_t *mark)
{
	bool was_recording = t->recording;
	struct tensor *y;

	if (t->in_block)
		die(EXIT_OTHER, "blocks do not nest");
	*mark = t->host.high;
	t->home = HOME_SCRATCH;
	t->recording = recording;
	t->in_block = true;
	t->end = recording ? t->made + b->read : SIZE_MAX;
	y = b->fn(t, b->what, in);
	t->end = SIZE_MAX;
	t->in_block = false;
	t->recording = was_recording;
	t->home = HOME_KEEP;
	return y;
}

static void forget_inside(struct tape *t, size_t mark)
{
	heap_clear_inside(&t->heap);
	t->host.high = mark;
}

/* Before a block runs: is it, or was it, the last of forward that reads each of its inputs?  It may free those at its
 * own last_use() of them, if it is to free any; the others are held.  An input may be there twice. */
static void lend(struct tensor *const *in, int n, bool frees, bool *last)
{
	int i;

	for (i = 0; i < n; i++)
		last[i] = in[i] && in[i]->last;
	for (i = 0; i < n; i++)
		if (in[i]) {
			in[i]->held = !(frees && last[i]);
			in[i]->last = false;
		}
}

static void lend_ends(struct tensor *const *in, int n, const bool *last)
{
	for (int i = 0; i < n; i++)
		if (in[i]) {
			in[i]->held = false;
			in[i]->last = last[i];
		}
}

/* This node reads its inputs so many times more. */
static void count_readers(const struct node *n, int more)
{
	for (int i = 0; i < NODE_INPUTS; i++)
		if (n->in[i] && n->reads & READS(i))
			n->in[i]->readers += more;
}

/* backward of y = block(in): runs the block again, this time recording, and pops what it recorded */
static void block_backward(struct tape *t, const struct node *n)
{
	size_t mark, first = t->nodes;
	bool last[NODE_INPUTS];
	struct tensor *y;

	count_readers(n, -1);
	lend(n->in, NODE_INPUTS, true, last);
	y = run_in_scratch(t, n->op, n->in, true, &mark);
	lend_ends(n->in, NODE_INPUTS, last);
	y->grad = n->out->grad;
	n->out->grad = NULL;
	t->home = HOME_SCRATCH;
	pop_until(t, first);
	t->home = HOME_KEEP;
	forget_inside(t, mark);
	count_readers(n, 1);
}

/* The end of a block: copies its output to the low end, and frees what is inside. */
static struct tensor *keep_output(struct tape *t, const struct tensor *y, size_t mark)
{
	struct tensor *out = new_tensor(t, y->type, y->n, y->h, y->w, y->c);

	if (y->type == DTYPE_F32)
		t->be->copy(t->device, out->data, y->data, tensor_count(y));
	else
		t->be->axpby(t->device, data_of(out), 1, data_of(y), 0, tensor_count(y));
	out->wants_grad = y->wants_grad;
	forget_inside(t, mark);
	return out;
}

struct tensor *tape_chain(struct tape *t, block_fn *fn, const void *block, struct tensor *in)
{
	struct block b = { fn, block };
	struct tensor *inputs[BLOCK_INPUTS] = { in }, *y;
	size_t mark;

	if (t->recording)
		return tape_block(t, fn, block, inputs, 1);
	y = run_in_scratch(t, &b, inputs, false, &mark);
	give(t, &in->data);
	return keep_output(t, y, mark);
}

struct tensor *tape_block(struct tape *t, block_fn *fn, const void *block, struct tensor *const *in, int n_in)
{
	const bool checkpointed = t->blocks++ < t->checkpoint_first;
	const size_t first = t->made;
	struct block b = { fn, block };
	struct node n = { .backward = block_backward, .reads = READS_INPUTS };
	struct tensor *y;
	bool last[BLOCK_INPUTS], trainable;
	size_t mark;
	int i;

	lend(in, n_in, !t->recording || !checkpointed, last);
	if (t->recording && !checkpointed) {
		y = fn(t, block, in);
		lend_ends(in, n_in, last);
		for (i = 0; i < n_in; i++)
			give_after_forward(t, in[i]);
		return y;
	}
	memcpy(n.in, in, n_in * sizeof(*in));
	t->last_read = first;
	y = run_in_scratch(t, &b, n.in, false, &mark);
	lend_ends(in, n_in, last);
	b.read = t->last_read - first;
	y = keep_output(t, y, mark);
	trainable = y->wants_grad;
	n.op = tape_keep(t, &b, sizeof(b));
	return tape_record(t, y, trainable, n);
}
