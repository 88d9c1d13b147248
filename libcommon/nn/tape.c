#include <stdlib.h>
#include <string.h>
#include "arena.h"
#include "../base/memory.h"
#include "tape.h"

#define DRY_BYTES   ((size_t)1 << 46)
#define DRY_BASE    ((void *)4096)              /* an address nobody follows */
#define HOST_BYTES  ((size_t)64 << 20)          /* tensors' own structs; touched only as far as used */

struct tape {
	const struct backend *be;
	struct device *device;
	void *memory;
	struct arena floats, host;      /* the host arena's ends move with the device's */
	enum home home;                 /* where new tensors go: HOME_KEEP or HOME_SCRATCH */
	bool recording, checkpointing, in_block;
	struct node *node;
	size_t nodes, capacity;
};

static struct tape *new_tape(const struct backend *be, struct device *d, void *memory, size_t bytes)
{
	struct tape *t = xcalloc(1, sizeof(*t));

	t->be = be;
	t->device = d;
	t->memory = memory;
	t->recording = true;
	arena_init(&t->floats, memory, bytes);
	arena_init(&t->host, xmalloc(HOST_BYTES), HOST_BYTES);
	return t;
}

struct tape *tape_new(const struct backend *be, struct device *d, size_t bytes, struct error *e)
{
	void *memory = be->alloc(d, bytes);

	if (!memory) {
		fail(e, EXIT_MEMORY, "no memory for %.2f GiB of activations; choose a smaller resolution or batch, or --gradient-checkpointing",
		     bytes / 1073741824.0);
		return NULL;
	}
	return new_tape(be, d, memory, bytes);
}

struct tape *tape_new_dry(void)
{
	return new_tape(&dry_backend, NULL, DRY_BASE, DRY_BYTES);
}

void tape_free(struct tape *t)
{
	if (!t)
		return;
	t->be->release(t->device, t->memory);
	free(t->host.base);
	free(t->node);
	free(t);
}

void tape_reset(struct tape *t)
{
	arena_reset(&t->floats);
	arena_reset(&t->host);
	t->nodes = 0;
	t->home = HOME_KEEP;
}

size_t tape_peak(const struct tape *t)                  { return t->floats.peak; }
void tape_recording(struct tape *t, bool on)            { t->recording = on; }
void tape_checkpointing(struct tape *t, bool on)        { t->checkpointing = on; }
const struct backend *tape_backend(const struct tape *t) { return t->be; }
struct device *tape_device(const struct tape *t)        { return t->device; }

static void *take(struct arena *a, size_t bytes, enum home home)
{
	void *p = home == HOME_KEEP ? arena_keep(a, bytes) : arena_scratch(a, bytes);

	if (!p)
		die(EXIT_MEMORY, "an arena of %zu bytes is full; this step needs more than was measured", a->size);
	return p;
}

float *tape_floats(struct tape *t, size_t n)
{
	return take(&t->floats, n * sizeof(float), t->home);
}

void *tape_keep(struct tape *t, const void *record, size_t bytes)
{
	return memcpy(take(&t->host, bytes, t->home), record, bytes);
}

size_t tape_scratch_mark(const struct tape *t)
{
	return t->floats.high;
}

float *tape_scratch(struct tape *t, size_t n)
{
	return take(&t->floats, n * sizeof(float), HOME_SCRATCH);
}

void tape_scratch_release(struct tape *t, size_t mark)
{
	t->floats.high = mark;
}

struct tensor *tensor_new(struct tape *t, int n, int h, int w, int c)
{
	struct tensor x = { .n = n, .h = h, .w = w, .c = c, .home = t->home };

	x.data = tape_floats(t, tensor_count(&x));
	return tape_keep(t, &x, sizeof(x));
}

struct tensor *tensor_from(struct tape *t, int n, int h, int w, int c, const float *host)
{
	struct tensor *x = tensor_new(t, n, h, w, c);

	t->be->upload(t->device, x->data, host, tensor_count(x) * sizeof(float));
	return x;
}

void tensor_download(struct tape *t, const struct tensor *x, float *host)
{
	t->be->download(t->device, host, x->data, tensor_count(x) * sizeof(float));
}

float *tape_grad(struct tape *t, struct tensor *x, int *add)
{
	if (!x || !x->wants_grad)
		return NULL;
	if (x->home == HOME_OWNER) {
		*add = x->has_grad;
		x->has_grad = true;
		return x->grad;
	}
	*add = x->grad != NULL;
	if (!x->grad)
		x->grad = take(&t->floats, tensor_count(x) * sizeof(float), x->home);
	return x->grad;
}

/* Frozen parts of the network record nothing, and so cost nothing on the way back. */
struct tensor *tape_record(struct tape *t, struct tensor *out, bool trainable, struct node n)
{
	int i;

	out->wants_grad = trainable;
	for (i = 0; i < NODE_INPUTS; i++)
		out->wants_grad |= n.in[i] && n.in[i]->wants_grad;
	if (t->recording && out->wants_grad) {
		GROW(t->node, t->nodes, t->capacity);
		n.out = out;
		t->node[t->nodes++] = n;
	}
	return out;
}

static void pop_until(struct tape *t, size_t first)
{
	while (t->nodes > first) {
		struct node n = t->node[--t->nodes];
		if (n.out->grad)
			n.backward(t, &n);
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
	t->be->upload(t->device, tape_grad(t, x, &add), host, count * sizeof(*host));
	free(host);
	pop_until(t, 0);
}

/* ---- blocks ---- */

struct block { block_fn *fn; const void *what; };
struct marks { size_t floats, host; };

/* Run a block with everything it makes in scratch; the caller releases to the marks. */
static struct tensor *run_in_scratch(struct tape *t, const struct block *b, struct tensor *const *in, bool recording, struct marks *m)
{
	bool was_recording = t->recording;
	struct tensor *y;

	if (t->in_block)
		die(EXIT_OTHER, "blocks do not nest");
	*m = (struct marks){ t->floats.high, t->host.high };
	t->home = HOME_SCRATCH;
	t->recording = recording;
	t->in_block = true;
	y = b->fn(t, b->what, in);
	t->in_block = false;
	t->recording = was_recording;
	t->home = HOME_KEEP;
	return y;
}

static void release(struct tape *t, const struct marks *m)
{
	t->floats.high = m->floats;
	t->host.high = m->host;
}

/* inverts y = block(in) by running it again, this time recording, and popping what it recorded */
static void block_backward(struct tape *t, const struct node *n)
{
	struct marks m;
	size_t first = t->nodes;
	struct tensor *y = run_in_scratch(t, n->op, n->in, true, &m);

	y->grad = n->out->grad;
	t->home = HOME_SCRATCH;
	pop_until(t, first);
	t->home = HOME_KEEP;
	release(t, &m);
}

/* Take x back when it is the last thing that was kept. */
static void take_back(struct tape *t, const struct tensor *x)
{
	size_t first = (char *)x->data - t->floats.base;

	if (x->home == HOME_KEEP && t->floats.low - first < tensor_count(x) * sizeof(float) + 64)
		t->floats.low = first;
}

struct tensor *tape_chain(struct tape *t, block_fn *fn, const void *block, struct tensor *in)
{
	struct block b = { fn, block };
	struct tensor *inputs[BLOCK_INPUTS] = { in }, *y, *out;
	struct marks m;

	if (t->recording)
		return tape_block(t, fn, block, inputs, 1);
	y = run_in_scratch(t, &b, inputs, false, &m);
	take_back(t, in);
	out = tensor_new(t, y->n, y->h, y->w, y->c);
	t->be->copy(t->device, out->data, y->data, tensor_count(y));
	out->wants_grad = y->wants_grad;
	release(t, &m);
	return out;
}

struct tensor *tape_block(struct tape *t, block_fn *fn, const void *block, struct tensor *const *in, int n_in)
{
	struct block b = { fn, block };
	struct node n = { .backward = block_backward };
	struct tensor *y, *out;
	struct marks m;
	bool trainable;

	if (t->recording && !t->checkpointing)
		return fn(t, block, in);
	memcpy(n.in, in, n_in * sizeof(*in));
	y = run_in_scratch(t, &b, n.in, false, &m);
	out = tensor_new(t, y->n, y->h, y->w, y->c);
	t->be->copy(t->device, out->data, y->data, tensor_count(y));
	trainable = y->wants_grad;
	release(t, &m);
	n.op = tape_keep(t, &b, sizeof(b));
	return tape_record(t, out, trainable, n);
}
