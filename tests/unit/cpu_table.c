/* A table of parameters is its rows one after another, to the bit: every operation over tables, every set of inner
 * loops, several numbers of threads; and what it says that a row moved by is what it moved by. */
#include "cpu_reference.h"

/* Shorter than a vector; about a block of codes; about a chunk; several chunks and a rest. */
static const size_t sizes[] = { 1, 255, 256, 257, 3, 8191, 8192, 8193, 50003, 40 };
enum { ROWS = sizeof(sizes) / sizeof(*sizes), MOST = 50003, STATES = TRAINED_STATES };

/* The memory of a table, and a copy of the weights from before. */
struct world { float *p[ROWS], *before[ROWS], *grad[ROWS], *state[ROWS][STATES]; struct trained t[ROWS]; };

static struct world make_world(bool codes)
{
	struct world w;

	for (int i = 0; i < ROWS; i++) {
		const size_t n = sizes[i];

		w.p[i] = randoms(10 * i, n);
		w.before[i] = randoms(10 * i, n);
		w.grad[i] = randoms(10 * i + 1, n);
		for (int k = 0; k < STATES; k++) {
			w.state[i][k] = randoms(10 * i + 2 + k, n);
			for (size_t j = 0; j < n; j++)          /* every one may be a second moment */
				w.state[i][k][j] = codes ? 0 : fabsf(w.state[i][k][j]);
		}
		w.t[i] = (struct trained){ w.p[i], w.grad[i],
					   { w.state[i][0], w.state[i][1], w.state[i][2], w.state[i][3] }, n,
					   { 1, 1, n, 1 } };
		if (codes && i % 2)
			w.t[i].state[2] = w.t[i].state[3] = NULL;       /* moments in floats between those in bytes */
	}
	return w;
}

static void free_world(struct world *w)
{
	for (int i = 0; i < ROWS; i++) {
		guarded_free(w->p[i]);
		guarded_free(w->before[i]);
		guarded_free(w->grad[i]);
		for (int k = 0; k < STATES; k++)
			guarded_free(w->state[i][k]);
	}
}

static void assert_same_world(const struct world *a, const struct world *b)
{
	for (int i = 0; i < ROWS; i++) {
		const size_t bytes = sizes[i] * sizeof(float);

		assert_guards(a->p[i], sizes[i]);
		assert_memory_equal(a->p[i], b->p[i], bytes);
		for (int k = 0; k < STATES; k++) {
			assert_guards(a->state[i][k], sizes[i]);
			assert_memory_equal(a->state[i][k], b->state[i][k], bytes);
		}
	}
}

/* ---- the operations; each row has a step of its own, so that one taken for another's shows ---- */

typedef void operation_fn(struct device *d, double *sum, const struct trained *t, int first, int count);

static struct adamw_step adam_of(int row)
{
	return (struct adamw_step){ .lr = 1e-2f * (row + 1), .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8f, .decay = 0.1f,
				    .correction1 = 0.3f, .correction2 = 0.1f, .grad_scale = 0.5f };
}

#define STEPS(type, of) \
	struct type##_step s[ROWS]; \
	for (int i = 0; i < count; i++) \
		s[i] = of(first + i)

static void squares(struct device *d, double *sum, const struct trained *t, int first, int count)
{
	cpu_backend.sum_squares(d, sum, t, count);
}

static void axpby(struct device *d, double *sum, const struct trained *t, int first, int count)
{
	cpu_backend.axpby_all(d, 0.25f, 0.75f, t, count);
	memset(sum, 0, count * sizeof(*sum));
}

static void adamw(struct device *d, double *sum, const struct trained *t, int first, int count)
{
	STEPS(adamw, adam_of);
	cpu_backend.adamw(d, sum, t, s, count);
}

static void lion(struct device *d, double *sum, const struct trained *t, int first, int count)
{
	STEPS(adamw, adam_of);
	cpu_backend.lion(d, sum, t, s, count);
}

static void adamw8bit(struct device *d, double *sum, const struct trained *t, int first, int count)
{
	float maps[2 * 256];
	STEPS(adamw, adam_of);

	for (int i = 0; i < 256; i++) {
		maps[i] = (i - 127) / 128.0f;
		maps[256 + i] = i / 255.0f;
	}
	cpu_backend.adamw8bit(d, sum, t, s, maps, count);
}

static void estimate(struct device *d, double *sum, const struct trained *t, int first, int count)
{
	const struct estimate_step s = { 0.5f, 0.1f, 1e-8f, { 0.1f, 0.9f }, { 0.01f, 0.99f }, { 0.2f, 0.9f } };

	cpu_backend.estimate(d, sum, t, &s, count);
}

static void estimate_move(struct device *d, double *sum, const struct trained *t, int first, int count)
{
	cpu_backend.estimate_move(d, sum, -0.1f, 1e-8f, 0.99f, t, count);
}

static struct schedulefree_step free_of(int row)
{
	return (struct schedulefree_step){ 0.5f, 0.3f, 1e-8f, 0.1f, -0.01f * (row + 1), -0.1f, { 0.01f, 0.99f },
					   { 0.2f, 0.8f } };
}

static void schedulefree(struct device *d, double *sum, const struct trained *t, int first, int count)
{
	STEPS(schedulefree, free_of);
	cpu_backend.schedulefree(d, sum, t, s, count);
}

static struct adafactor_step adafactor_of(int row)
{
	return (struct adafactor_step){ 0.3, 0.01 * (row + 1), 1e-3, row % 2, 1, 0.9, 0.1, 1e-30f, 0.5f };
}

static void adafactor(struct device *d, double *sum, const struct trained *t, int first, int count)
{
	STEPS(adafactor, adafactor_of);
	cpu_backend.adafactor(d, sum, t, s, count);
}

static const struct { const char *name; operation_fn *run; int sums; bool moves, codes; } operations[] = {
	{ "sum_squares", squares, 1 }, { "axpby_all", axpby, 1 }, { "adamw", adamw, 1, true },
	{ "lion", lion, 1, true }, { "adamw8bit", adamw8bit, 1, true, true }, { "estimate", estimate, 2 },
	{ "estimate_move", estimate_move, 1, true }, { "schedulefree", schedulefree, 1, true },
	{ "adafactor", adafactor, 1, true },
};

/* Differences of floats, squared and added in double: n * 1e-16, beside the rounding of each difference. */
static void assert_moved(const struct world *w, const double *moved)
{
	for (int i = 0; i < ROWS; i++) {
		double want = 0;

		for (size_t k = 0; k < sizes[i]; k++)
			want += pow((double)w->p[i][k] - w->before[i][k], 2);
		assert_true(want > 0 && fabs(moved[i] / want - 1) < 1e-6);
	}
}

static void run_operation(int which, int set, int threads, struct world *w, double *sum, bool alone)
{
	const int sums = operations[which].sums;
	struct error e;
	struct device *d;

	threads_use(threads);
	d = cpu_backend.open(&e);
	d->k = cpu_set_at(set);
	*w = make_world(operations[which].codes);
	for (int i = 0; i < ROWS && alone; i++)
		operations[which].run(d, sum + i * sums, &w->t[i], i, 1);
	if (!alone)
		operations[which].run(d, sum, w->t, 0, ROWS);
	cpu_backend.close(d);
	threads_use(0);
}

static void a_table_is_its_rows(void **state)
{
	static const int threads[] = { 1, 2, 3, 7 };

	for (size_t which = 0; which < sizeof(operations) / sizeof(*operations); which++) {
		double one[2 * ROWS], sum[2 * ROWS];
		struct world alone, all;

		print_message("%s\n", operations[which].name);
		run_operation(which, 0, 1, &alone, one, true);
		for (int set = 0; cpu_set_at(set); set++)
			for (int i = 0; i < 4; i++) {
				run_operation(which, set, threads[i], &all, sum, false);
				assert_same_world(&all, &alone);
				assert_memory_equal(sum, one, operations[which].sums * ROWS * sizeof(*sum));
				if (operations[which].moves)
					assert_moved(&all, sum);
				free_world(&all);
			}
		free_world(&alone);
	}
}

/* As in a step in which no gradient arrived. */
static void an_empty_table(void **state)
{
	struct error e;
	struct device *d = cpu_backend.open(&e);

	for (size_t which = 0; which < sizeof(operations) / sizeof(*operations); which++) {
		double sum = 7;
		struct trained t = { 0 };

		operations[which].run(d, &sum, &t, 0, 0);
		assert_true(sum == 7);
	}
	cpu_backend.close(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_table_is_its_rows), cmocka_unit_test(an_empty_table) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
