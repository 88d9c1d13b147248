/*
 * visits - weights that stay in host memory against the same ones on the card: the same bytes, whatever their sizes and
 * kinds and in whatever order they are read, by steps that are launched as one and by calls one by one.
 *
 * Both are the CUDA backend's, so nothing is rounded differently: no tolerance.
 */
#include "harness.h"

/* Layers from WIDE to WIDE values a row, read one after another; a row of the picture is a token. */
enum { LAYERS = 12, SIDE = 6, ROWS = SIDE * SIDE, WIDE = 16, BLOCK = 3, STEPS = 5 };

enum { HOST, HERE, PLACES };
struct world {
	const struct backend *be;
	struct device *d;
	struct weight layer[PLACES][LAYERS];
	float *x, *y, *first;
};

static float *floats(struct world *w, size_t n)
{
	float *p = w->be->alloc(w->d, n * sizeof(*p));

	if (!p)
		die(EXIT_MEMORY, "no memory for the test");
	return p;
}

/* Filters of three by three and matrices, in floats and in halves, so that sizes differ by as much as 18. */
static void make_layer(struct world *w, int i, int draw)
{
	static const enum dtype types[] = { DTYPE_F32, DTYPE_F16, DTYPE_BF16 };
	const int side = i % 3 == 1 ? 3 : 1, n = WIDE * WIDE * side * side;
	float *host = xmalloc(n * sizeof(*host));
	void *bytes = xmalloc(n * sizeof(*host));
	const enum dtype type = types[(i + i / 3) % 3];

	random_normal(&(struct random){ 3, RANDOM_TEST, i, draw }, host, n);
	for (int k = 0; k < n; k++)
		host[k] *= 0.25f / side;
	from_float(bytes, type, host, n);
	for (int p = 0; p < PLACES; p++) {
		if (w->layer[p][i].data)
			w->be->unprepare(w->d, &w->layer[p][i]);
		w->layer[p][i] = (struct weight){ .dtype = type, .out = WIDE, .in = WIDE, .kh = side, .kw = side,
						  .on_host = p == HOST };
		if (w->be->prepare(w->d, &w->layer[p][i], bytes))
			die(EXIT_MEMORY, "no memory for the test");
	}
	free(host);
	free(bytes);
}

static struct world open_world(const struct backend *be, struct device *d)
{
	struct world w = { .be = be, .d = d };

	for (int i = 0; i < LAYERS; i++)
		make_layer(&w, i, 0);
	w.x = floats(&w, ROWS * WIDE);
	w.y = floats(&w, ROWS * WIDE);
	w.first = floats(&w, ROWS * WIDE);
	return w;
}

static void close_world(struct world *w)
{
	for (int p = 0; p < PLACES; p++)
		for (int i = 0; i < LAYERS; i++)
			w->be->unprepare(w->d, &w->layer[p][i]);
	w->be->release(w->d, w->x);
	w->be->release(w->d, w->y);
	w->be->release(w->d, w->first);
}

static void swap(struct world *w)
{
	float *x = w->x;

	w->x = w->y;
	w->y = x;
}

static void through(struct world *w, const struct weight *l, bool back)
{
	const struct conv_shape s = { 1, SIDE, SIDE, SIDE, SIDE, 1, 1 };

	if (l->kh == 1 && back)
		w->be->linear_dx(w->d, f32(w->y), f32(w->x), l, ROWS, 0, NULL);
	else if (l->kh == 1)
		w->be->linear(w->d, f32(w->y), f32(w->x), l, NULL, ROWS, NULL);
	else if (back)
		w->be->conv2d_dx(w->d, f32(w->y), f32(w->x), l, &s, 0);
	else
		w->be->conv2d(w->d, f32(w->y), f32(w->x), l, NULL, &s);
	swap(w);
}

/* Forward; then block by block from the last one: forward again, and backward. */
static void checkpointed(struct world *w, const struct weight *layer)
{
	for (int i = 0; i < LAYERS; i++)
		through(w, &layer[i], false);
	for (int b = LAYERS - BLOCK; b >= 0; b -= BLOCK) {
		for (int i = 0; i < BLOCK; i++)
			through(w, &layer[b + i], false);
		for (int i = BLOCK - 1; i >= 0; i--)
			through(w, &layer[b + i], true);
	}
}

static void kept(struct world *w, const struct weight *layer)
{
	for (int i = 0; i < LAYERS; i++)
		through(w, &layer[i], false);
	for (int i = LAYERS - 1; i >= 0; i--)
		through(w, &layer[i], true);
}

/* In no order at all, some of them many times. */
static void at_random(struct world *w, const struct weight *layer)
{
	for (int i = 0; i < 4 * LAYERS; i++)
		through(w, &layer[i * i * 7 % 11 % LAYERS], i % 3 == 0);
}

typedef void network(struct world *w, const struct weight *layer);

static void run(struct world *w, network *n, int place, int number, bool as_one, float *to)
{
	float x[ROWS * WIDE];

	random_normal(&(struct random){ 4, RANDOM_TEST, number, 0 }, x, ROWS * WIDE);
	do {
		if (as_one)
			w->be->step_begin(w->d, 1);
		w->be->upload(w->d, w->x, x, sizeof(x));
		n(w, w->layer[place]);
	} while (as_one && w->be->step_end(w->d));
	w->be->download(w->d, to, w->x, ROWS * WIDE * sizeof(*to));
}

static bool same(struct world *w, network *n, int number, bool as_one)
{
	float here[ROWS * WIDE], visited[ROWS * WIDE];

	run(w, n, HERE, number, false, here);
	run(w, n, HOST, number, as_one, visited);
	return !memcmp(here, visited, sizeof(here));
}

static void each(struct rig *r, network *n, const char *what)
{
	struct world w = open_world(r->be[CARD], r->device[CARD]);
	bool right = true;

	for (int i = 0; i < STEPS; i++)
		right &= same(&w, n, i, false);
	verdict(r, right, what, 0, 0);
	right = true;
	for (int i = 0; i < STEPS; i++)
		right &= same(&w, n, i, true);
	verdict(r, right, "  launched as one", 0, 0);
	for (int i = 0; i < STEPS; i++)         /* what a picture or a validation leaves behind */
		right &= same(&w, at_random, i, false) && same(&w, n, i, true);
	verdict(r, right, "  with others between", 0, 0);
	close_world(&w);
}

/* A weight that is given back, and another one that may lie where it lay. */
static void given_back(struct rig *r)
{
	struct world w = open_world(r->be[CARD], r->device[CARD]);
	bool right = true;

	for (int i = 0; i < STEPS; i++) {
		right &= same(&w, kept, i, i == STEPS - 1);
		make_layer(&w, i, 1);
	}
	verdict(r, right, "weights given back and taken anew", 0, 0);
	close_world(&w);
}

int main(void)
{
	struct rig r;
	struct error e;

	if (rig_open(&r, &e))
		return report(&e);
	each(&r, checkpointed, "forward, and each block again and backward");
	each(&r, kept, "forward and backward");
	each(&r, at_random, "in no order");
	given_back(&r);
	return rig_close(&r);
}
