/*
 * steps - a step that is launched as one against the same calls one by one: the same bytes, whatever changes from step
 * to step: values that the host brings, the calls, their number, addresses, the backend's own memory.
 *
 * Both are the CUDA backend's, so nothing is rounded differently: no tolerance.
 */
#include "harness.h"

enum { ROWS = 24, WIDE = 40, TAKEN = 17, TABLE = 9, STEPS = 8 };

/* What one step is given, and how it differs from the others in more than values. */
struct turn {
	uint64_t key;
	int number;                     /* of the step: its values are drawn by it */
	double dropped;
	int sums;                       /* calls at its end */
	bool waits;                     /* for the card, amid its calls */
};

struct world {
	const struct backend *be;
	struct device *d;
	float *x, *z, *taken, *words, *sum;
	struct weight table, layer;     /* layer: in host memory */
};

static float *floats(struct world *w, size_t n)
{
	float *p = w->be->alloc(w->d, n * sizeof(*p));

	if (!p)
		die(EXIT_MEMORY, "no memory for the test");
	return p;
}

static void draw(float *x, size_t n, uint32_t purpose, int number)
{
	random_normal(&(struct random){ 5, RANDOM_TEST, number, purpose }, x, n);
}

static struct weight weight_of(struct world *w, int out, int in, bool on_host)
{
	struct weight new = { .dtype = DTYPE_F32, .out = out, .in = in, .kh = 1, .kw = 1, .on_host = on_host };
	float *host = xmalloc((size_t)out * in * sizeof(*host));

	draw(host, (size_t)out * in, 100 + out, 0);
	if (w->be->prepare(w->d, &new, host))
		die(EXIT_MEMORY, "no memory for the test");
	free(host);
	return new;
}

static struct world open_world(struct rig *r)
{
	struct world w = { .be = r->be[CARD], .d = r->device[CARD] };

	w.x = floats(&w, ROWS * WIDE);
	w.z = floats(&w, ROWS * WIDE);
	w.taken = floats(&w, TAKEN * WIDE);
	w.words = floats(&w, TAKEN * WIDE);
	w.sum = floats(&w, TAKEN * WIDE);
	w.table = weight_of(&w, TABLE, WIDE, false);
	w.layer = weight_of(&w, WIDE, WIDE, true);
	return w;
}

static void close_world(struct world *w)
{
	w->be->unprepare(w->d, &w->table);
	w->be->unprepare(w->d, &w->layer);
	w->be->release(w->d, w->x);
	w->be->release(w->d, w->z);
	w->be->release(w->d, w->taken);
	w->be->release(w->d, w->words);
	w->be->release(w->d, w->sum);
}

/* x, an upload; z = layer(x), dropped; some rows of it, and some of the table, added up */
static void calls(struct world *w, const struct turn *t)
{
	const struct random dropped = { 7, RANDOM_NETWORK_DROPOUT, t->number, 3 };
	int32_t rows[TAKEN], ids[TAKEN];
	float x[ROWS * WIDE];

	draw(x, ROWS * WIDE, 1, t->number);
	for (int i = 0; i < TAKEN; i++) {
		rows[i] = (i * 5 + t->number) % ROWS;
		ids[i] = (i + t->number) % TABLE;
	}
	w->be->upload(w->d, w->x, x, sizeof(x));
	w->be->linear(w->d, f32(w->z), f32(w->x), &w->layer, NULL, ROWS, NULL);
	w->be->dropout(w->d, w->z, &dropped, t->dropped, 2, ROWS / 2, WIDE, false);
	w->be->gather_rows(w->d, f32(w->taken), f32(w->z), rows, TAKEN, WIDE);
	w->be->embedding(w->d, w->words, &w->table, ids, TAKEN);
	if (t->waits)
		w->be->download(w->d, x, w->words, sizeof(*x));
	w->be->add(w->d, f32(w->sum), f32(w->taken), f32(w->words), TAKEN * WIDE);
	w->be->gather_rows_back(w->d, f32(w->x), f32(w->sum), rows, TAKEN, WIDE);
	for (int i = 0; i < t->sums; i++)
		w->be->add(w->d, f32(w->sum), f32(w->sum), f32(w->words), TAKEN * WIDE);
}

/* x and sum */
static void read_back(struct world *w, float *to)
{
	w->be->download(w->d, to, w->x, ROWS * WIDE * sizeof(*to));
	w->be->download(w->d, to + ROWS * WIDE, w->sum, TAKEN * WIDE * sizeof(*to));
}

static bool same(struct world *w, const struct turn *t)
{
	float as_one[(ROWS + TAKEN) * WIDE], one_by_one[(ROWS + TAKEN) * WIDE];
	int times = 0;

	do {
		w->be->step_begin(w->d, t->key);
		calls(w, t);
	} while (w->be->step_end(w->d) && ++times < 3);
	read_back(w, as_one);
	calls(w, t);
	read_back(w, one_by_one);
	return times < 3 && !memcmp(as_one, one_by_one, sizeof(as_one));
}

static void all_same(struct rig *r, struct world *w, const struct turn *t, int n, const char *what)
{
	int right = 0;

	for (int i = 0; i < n; i++)
		right += same(w, &t[i]);
	verdict(r, right == n, what, n - right, 0);
}

/* What stays and what changes, each in a world of its own: so that one does not hide the other. */
static void changes(struct rig *r, const char *what, struct turn (*turn)(int i), int n)
{
	struct world w = open_world(r);
	struct turn t[64];

	for (int i = 0; i < n; i++)
		t[i] = turn(i);
	all_same(r, &w, t, n, what);
	close_world(&w);
}

static struct turn values_alone(int i)  { return (struct turn){ 1, i, 0.25, 0, false }; }
static struct turn a_number_of_two(int i) { return (struct turn){ 2 + i % 2, i, 0.25, i % 2, false }; }
static struct turn more_keys_than_are_kept(int i) { return (struct turn){ 10 + i % 17, i, 0.25, i % 2, false }; }
static struct turn an_argument(int i)   { return (struct turn){ 4, i, i < 5 ? 0.25 : 0.5, 0, false }; }
static struct turn more_calls(int i)    { return (struct turn){ 5, i, 0.25, i < 4 ? 1 : 2, false }; }
static struct turn fewer_calls(int i)   { return (struct turn){ 6, i, 0.25, i < 4 ? 2 : 0, false }; }

static void addresses(struct rig *r)
{
	struct world w = open_world(r);
	float *other;
	bool right = true;

	for (int i = 0; i < 4; i++)
		right &= same(&w, &(struct turn){ .key = 1, .number = i, .dropped = 0.25 });
	other = floats(&w, ROWS * WIDE);
	w.be->release(w.d, w.z);
	w.z = other;
	for (int i = 4; i < STEPS; i++)
		right &= same(&w, &(struct turn){ .key = 1, .number = i, .dropped = 0.25 });
	verdict(r, right, "what a step writes lies elsewhere", 0, 0);
	close_world(&w);
}

/* A weight that stays in host memory is copied to a place on the card that the backend owns. */
static void own_memory(struct rig *r)
{
	struct world w = open_world(r);
	struct weight larger;
	bool right = true;

	for (int i = 0; i < 4; i++)
		right &= same(&w, &(struct turn){ .key = 1, .number = i, .dropped = 0.25 });
	larger = weight_of(&w, 50 * WIDE, WIDE, true);
	for (int i = 4; i < STEPS; i++)
		right &= same(&w, &(struct turn){ .key = 1, .number = i, .dropped = 0.25 });
	verdict(r, right, "the backend's own memory lies elsewhere", 0, 0);
	w.be->unprepare(w.d, &larger);
	close_world(&w);
}

/* A product before the step left x cast; before later steps one leaves something else. */
static void before_the_step(struct rig *r)
{
	struct world w = open_world(r);
	float *other = floats(&w, ROWS * WIDE);
	struct weight half = { .dtype = DTYPE_F16, .out = WIDE, .in = WIDE, .kh = 1, .kw = 1 };
	uint16_t host[WIDE * WIDE];
	float x[ROWS * WIDE], as_one[ROWS * WIDE], one_by_one[ROWS * WIDE];
	bool right = true;

	draw(x, ROWS * WIDE, 2, 0);
	from_float((char *)host, DTYPE_F16, x, ROWS * WIDE);
	memset(host + ROWS * WIDE, 0, sizeof(host) - ROWS * WIDE * sizeof(*host));
	if (w.be->prepare(w.d, &half, host))
		die(EXIT_MEMORY, "no memory for the test");
	for (int i = 0; i < STEPS; i++) {
		draw(x, ROWS * WIDE, 3, i);
		w.be->upload(w.d, w.x, x, sizeof(x));
		w.be->zero(w.d, f32(other), ROWS * WIDE);
		w.be->linear(w.d, f32(w.z), f32(i < 3 ? w.x : other), &half, NULL, ROWS, NULL);
		do {
			w.be->step_begin(w.d, 1);
			w.be->linear(w.d, f32(w.z), f32(w.x), &half, NULL, ROWS, NULL);
		} while (w.be->step_end(w.d));
		w.be->download(w.d, as_one, w.z, sizeof(as_one));
		w.be->linear(w.d, f32(w.z), f32(w.x), &half, NULL, ROWS, NULL);
		w.be->download(w.d, one_by_one, w.z, sizeof(one_by_one));
		right &= !memcmp(as_one, one_by_one, sizeof(as_one));
	}
	verdict(r, right, "an operand that was cast before the step", 0, 0);
	w.be->release(w.d, other);
	w.be->unprepare(w.d, &half);
	close_world(&w);
}

/* By the thread that watches, whenever it is time. */
static void looked_at(struct rig *r)
{
	struct world w = open_world(r);
	int again = 0;

	for (int i = 0; i < STEPS; i++) {
		const struct turn t = { .key = 1, .number = i, .dropped = 0.25 };
		struct device_use now;

		w.be->step_begin(w.d, t.key);
		calls(&w, &t);
		if (i > 2)
			w.be->look(w.d, &now);
		again += w.be->step_end(w.d) && i > 2;
	}
	verdict(r, !again, "a look at the device is no call of a step", again, 0);
	close_world(&w);
}

/* These end it: no step is launched as one any more on this device. */
static struct turn always_another(int i) { return (struct turn){ 8, i, 0.01 * (i + 1), 0, false }; }
static struct turn always_a_wait(int i)  { return (struct turn){ 9, i, 0.25, 0, true }; }
static struct turn a_wait_at_times(int i) { return (struct turn){ 7, i, 0.25, 0, i == 4 }; }

static void on_a_device_of_its_own(struct rig *r, const char *what, struct turn (*turn)(int i))
{
	struct rig own = *r;
	struct error e;

	own.device[CARD] = own.be[CARD]->open(&e);
	if (!own.device[CARD])
		die(EXIT_OTHER, "%s", e.text);
	changes(&own, what, turn, STEPS);
	changes(&own, "  and afterwards", values_alone, STEPS);
	own.be[CARD]->close(own.device[CARD]);
	r->tests = own.tests;
	r->failed = own.failed;
}

int main(void)
{
	struct rig r;
	struct error e;

	if (rig_open(&r, &e))
		return report(&e);
	changes(&r, "values that the host brings", values_alone, STEPS);
	changes(&r, "steps of two kinds in turn", a_number_of_two, STEPS);
	changes(&r, "steps of seventeen kinds in turn", more_keys_than_are_kept, quick() ? 20 : 40);
	changes(&r, "an argument that changes once", an_argument, STEPS);
	changes(&r, "more calls than before", more_calls, STEPS);
	changes(&r, "fewer calls than before", fewer_calls, STEPS);
	addresses(&r);
	own_memory(&r);
	before_the_step(&r);
	looked_at(&r);
	on_a_device_of_its_own(&r, "an argument that changes each time", always_another);
	on_a_device_of_its_own(&r, "the host waits each time", always_a_wait);
	on_a_device_of_its_own(&r, "the host waits once", a_wait_at_times);
	return rig_close(&r);
}
