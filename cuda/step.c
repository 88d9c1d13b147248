/* A step's calls, noted, captured into a graph, compared and launched. */
#include <stdlib.h>
#include <string.h>
#include "internal.h"

/* A set of pictures has some ten shapes.  A step of one key that differs three times in a row always does.  Steps of
 * several keys may differ in a row once: the arena lies elsewhere after samples were painted. */
enum { MOST_KEPT = 16, MOST_MISSES = 3, VALUE_ALIGN = 256 };

enum mode { OUTSIDE, PLAIN, CAPTURES, FOLLOWS, BROKEN };

/* The steps of one key. */
struct kept {
	uint64_t key;
	uint64_t *call; size_t calls, capacity;         /* noted of each */
	size_t bytes;                                   /* of all values */
	char *block;                                    /* device memory for them */
	cudaGraphExec_t graph;                          /* NULL: none yet */
	int misses;                                     /* of its steps in a row that differed */
	long used;
};

struct steps {
	enum mode mode;
	struct kept kept[MOST_KEPT], *now;
	size_t at, filled;              /* of this step: calls, and bytes of values */
	char *values; size_t room;      /* host memory, as the block is to be */
	long clock;
	int row;                        /* where the last step that differed did */
	bool off;
};

static const char *const row_names[] = {
#define OP(type, name, parameters) #name,
#include "../libcommon/backend_ops.def"
};

struct steps *steps_new(void)
{
	struct steps *s = calloc(1, sizeof(*s));
	const char *wanted = getenv("LORA_CUDA_GRAPHS");

	if (s)
		s->off = wanted && !strcmp(wanted, "0");
	return s;
}

static void drop_graph(struct kept *k)
{
	if (k->graph)
		cudaGraphExecDestroy(k->graph);
	k->graph = NULL;
}

void steps_free(struct steps *s)
{
	for (int i = 0; s && i < MOST_KEPT; i++) {
		drop_graph(&s->kept[i]);
		free(s->kept[i].call);
	}
	if (s)
		free(s->values);
	free(s);
}

/* The key stays; its next step is noted. */
static void forget(struct device *d, struct kept *k)
{
	drop_graph(k);
	cuda_release(d, k->block);
	k->block = NULL;
	k->calls = k->bytes = 0;
}

void steps_forget(struct device *d)
{
	for (int i = 0; i < MOST_KEPT; i++)
		forget(d, &d->steps->kept[i]);
}

static void give_up(struct device *d, const char *why, const char *what)
{
	if (!d->steps->off)
		warning("device cuda: a step cannot be launched as one, %s%s; its calls are launched one by one, which "
			"is slower", why, what);
	steps_forget(d);
	d->steps->off = true;
}

/* The one of this key, or the one in whose place it comes: that was used longest ago. */
static struct kept *kept_of(struct device *d, uint64_t key)
{
	struct steps *s = d->steps;
	struct kept *oldest = &s->kept[0];

	for (int i = 0; i < MOST_KEPT; i++) {
		if (s->kept[i].used && s->kept[i].key == key)
			return &s->kept[i];
		if (s->kept[i].used < oldest->used)
			oldest = &s->kept[i];
	}
	forget(d, oldest);
	oldest->key = key;
	oldest->misses = 0;
	return oldest;
}

/* ---- a step that differs ---- */

static void end_capture(struct device *d, cudaGraph_t *graph)
{
	*graph = NULL;
	cudaStreamEndCapture(d->stream, graph);
	cudaGetLastError();
}

static void break_off(struct device *d, int row)
{
	struct steps *s = d->steps;
	cudaGraph_t graph;

	if (s->mode == CAPTURES) {
		visits_end(d);
		end_capture(d, &graph);
		if (graph)
			cudaGraphDestroy(graph);
	}
	s->mode = BROKEN;
	s->row = row;
	s->now->misses++;
	forget(d, s->now);
}

bool step_runs(const struct device *d)
{
	return d->steps->mode != OUTSIDE;
}

static void note_call(struct kept *k, uint64_t number)
{
	if (k->calls == k->capacity) {
		const size_t more = k->capacity + k->capacity / 2 + 1024;
		uint64_t *call = realloc(k->call, more * sizeof(*call));

		if (!call)
			die(EXIT_MEMORY, "no memory to note the calls of a step");
		k->call = call;
		k->capacity = more;
	}
	k->call[k->calls++] = number;
}

bool step_call(struct device *d, int row, uint64_t number)
{
	struct steps *s = d->steps;
	struct kept *k = s->now;

	if (s->mode == PLAIN) {
		note_call(k, number);
	} else if (s->mode != BROKEN && (s->at == k->calls || k->call[s->at++] != number)) {
		break_off(d, row);
	}
	return s->mode == PLAIN || s->mode == CAPTURES;
}

void step_cannot(struct device *d, int row)
{
	if (d->steps->mode == CAPTURES || d->steps->mode == FOLLOWS)
		break_off(d, row);
	if (d->steps->mode == PLAIN)
		give_up(d, "as the host waits in it: ", row_names[row]);
	if (d->steps->mode == PLAIN)
		d->steps->mode = OUTSIDE;
}

const void *step_value(struct device *d, const void *host, size_t bytes)
{
	const size_t taken = (bytes + VALUE_ALIGN - 1) / VALUE_ALIGN * VALUE_ALIGN;
	struct steps *s = d->steps;
	const size_t at = s->filled;

	if (s->mode == PLAIN)
		s->now->bytes += taken;
	if (s->mode != CAPTURES && s->mode != FOLLOWS)
		return NULL;
	if (taken > s->now->bytes - at)
		die(EXIT_OTHER, "a step brings more than was noted of it; this is a bug in lora-tools");
	memcpy(s->values + at, host, bytes);
	s->filled += taken;
	return s->now->block + at;
}

/* ---- begin and end ---- */

/* Room for the values, on both sides, and a capture that has begun. */
static bool begin_capture(struct device *d, struct kept *k)
{
	struct steps *s = d->steps;

	if (k->bytes > s->room) {
		free(s->values);
		s->values = calloc(1, k->bytes);
		s->room = s->values ? k->bytes : 0;
	}
	k->block = pool_take(d->pool, k->bytes);
	if (!k->block || s->room < k->bytes) {
		give_up(d, "for want of memory", "");
		return false;
	}
	if (cudaStreamBeginCapture(d->stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess)
		return true;
	give_up(d, "as no graph could be begun: ", cudaGetErrorString(cudaGetLastError()));
	return false;
}

void cuda_step_begin(struct device *d, uint64_t key)
{
	struct steps *s = d->steps;

	if (s->off)
		return;
	s->now = kept_of(d, key);
	s->now->used = ++s->clock;
	s->at = s->filled = 0;
	d->operand.of = NULL;
	visits_end(d);
	if (s->now->graph)
		s->mode = FOLLOWS;
	else if (!s->now->calls)
		s->mode = PLAIN;
	else if (begin_capture(d, s->now))
		s->mode = CAPTURES;
}

static bool make_graph(struct device *d, struct kept *k)
{
	cudaGraph_t graph = NULL;
	cudaError_t status = cudaStreamEndCapture(d->stream, &graph);

	if (status == cudaSuccess)
		status = cudaGraphInstantiateWithFlags(&k->graph, graph, 0);
	if (graph)
		cudaGraphDestroy(graph);
	if (status == cudaSuccess)
		return true;
	cudaGetLastError();
	k->graph = NULL;
	give_up(d, "as it cannot be captured: ", cudaGetErrorString(status));
	return false;
}

static void launch(struct device *d, struct kept *k)
{
	cuda_must(staging_upload(d->staging, d->stream, k->block, d->steps->values, d->steps->filled),
		  "a step's values");
	cuda_must(cudaGraphLaunch(k->graph, d->stream), "a step");
	k->misses = 0;
}

bool cuda_step_end(struct device *d)
{
	struct steps *s = d->steps;
	bool again = false;

	if (s->mode != OUTSIDE)
		visits_end(d);
	if ((s->mode == CAPTURES || s->mode == FOLLOWS) && s->at != s->now->calls)
		break_off(d, ROW_step_end);
	if (s->mode == BROKEN && s->now->misses == MOST_MISSES)
		give_up(d, "as it differs each time: ", row_names[s->row]);
	if (s->mode == CAPTURES)
		again = !make_graph(d, s->now);
	if ((s->mode == CAPTURES || s->mode == FOLLOWS) && !again)
		launch(d, s->now);
	again |= s->mode == BROKEN;
	s->mode = OUTSIDE;
	d->operand.of = NULL;
	return again;
}
