/* What the optimizers need of the device, against double precision: every set of inner loops,
 * several numbers of threads. */
#include "cpu_reference.h"

struct operands {
	size_t n;
	const float *x, *v, *z;
	float a, b, eps;
	const struct adamw_step *step;
	const struct adafactor_step *adafactor;
	struct factored_shape shape;
};

static void run_over_root(struct device *d, struct output *out, const void *arg)
{
	const struct operands *o = arg;

	cpu_backend.over_root(d, out->data, o->a, o->x, o->v, o->eps, o->b, o->n);
}

static void run_axpby_all(struct device *d, struct output *out, const void *arg)
{
	const struct operands *o = arg;

	cpu_backend.axpby_all(d, o->a, o->b, &(struct trained){ .p = out->data, .grad = o->x, .n = o->n }, 1);
}

static void run_adamw(struct device *d, struct output *out, const void *arg)
{
	const struct operands *o = arg;
	double moved;

	cpu_backend.adamw(d, &moved, &(struct trained){ out[0].data, o->x, { out[1].data, out[2].data }, out[0].n },
			  o->step, 1);
}

static void run_lion(struct device *d, struct output *out, const void *arg)
{
	const struct operands *o = arg;
	double moved;

	cpu_backend.lion(d, &moved, &(struct trained){ out[0].data, o->x, { out[1].data }, o->n }, o->step, 1);
}

static void run_adafactor(struct device *d, struct output *out, const void *arg)
{
	const struct operands *o = arg;
	double moved;

	cpu_backend.adafactor(d, &moved, &(struct trained){ out[0].data, o->x, { out[1].data, out[2].data }, out[0].n,
							    o->shape }, o->adafactor, 1);
}

/* A few roundings of what is added up. */
static void elementwise(void **state)
{
	static const size_t sizes[] = { 1, 7, 8192, 100003 };

	for (size_t t = 0; t < sizeof(sizes) / sizeof(*sizes); t++) {
		const size_t n = sizes[t];
		float *x = randoms(1, n), *v = randoms(2, n), *y = randoms(3, n);
		double *want = doubles(n);
		struct operands o = { .n = n, .x = x, .v = v, .a = 0.75f, .eps = 0.01f };

		for (size_t i = 0; i < n; i++)
			v[i] = fabsf(v[i]);
		for (int adds = 0; adds < 2; adds++) {
			struct output out = { n, adds ? y : NULL, want, 5e-7, NULL };
			o.b = adds ? 0.5f : 0;
			for (size_t i = 0; i < n; i++)
				want[i] = 0.75 * x[i] + (adds ? 0.5 * y[i] : 0);
			every_way(&out, 1, run_axpby_all, &o);
			for (size_t i = 0; i < n; i++)
				want[i] = 0.75 * x[i] / (sqrt(v[i]) + o.eps) + (adds ? 0.5 * y[i] : 0);
			every_way(&out, 1, run_over_root, &o);
		}
		free(want);
		guarded_free(x);
		guarded_free(v);
		guarded_free(y);
	}
}

/* One step from every kind of state; a step is some ten roundings of what it moves. */
static void adamw_agrees_with_double(void **state)
{
	static const struct adamw_step steps[] = {
		{ 1e-3f, 0.9f, 0.999f, 1e-8f, 0.01f, 1 - 0.9f, 1 - 0.999f, 1 },
		{ 0, 0.9f, 0.99f, 1e-6f, 0.1f, 0.6f, 0.3f, 0.25f },
		{ 0.5f, 0.8f, 0.95f, 1e-8f, 0, 1, 1, 3 },
	};
	const size_t n = 40009;

	for (int t = 0; t < 3; t++) {
		const struct adamw_step *s = &steps[t];
		float *p = randoms(77, n), *m = randoms(78, n), *v = randoms(79, n), *grad = randoms(80, n);
		double *p1 = doubles(n), *m1 = doubles(n), *v1 = doubles(n);
		struct operands o = { .x = grad, .step = s };
		struct output out[3] = { { n, p, p1, 1e-6, NULL }, { n, m, m1, 3e-7, NULL }, { n, v, v1, 3e-7, NULL } };

		for (size_t i = 0; i < n; i++) {
			double g = (double)grad[i] * s->grad_scale;

			v[i] = v[i] < 0 ? -v[i] : v[i];
			m1[i] = s->beta1 * m[i] + (1 - (double)s->beta1) * g;
			v1[i] = s->beta2 * v[i] + (1 - (double)s->beta2) * g * g;
			p1[i] = p[i] * (1 - (double)s->lr * s->decay) -
				s->lr / s->correction1 * m1[i] / (sqrt(v1[i]) / sqrt(s->correction2) + s->eps);
		}
		every_way(out, 3, run_adamw, &o);
		free(p1); free(m1); free(v1);
		guarded_free(p);
		guarded_free(m);
		guarded_free(v);
		guarded_free(grad);
	}
}

static void lion_agrees_with_double(void **state)
{
	const struct adamw_step s = { .lr = 0.125f, .beta1 = 0.75, .beta2 = 0.5, .decay = 0.25f, .grad_scale = 0.5f };
	const size_t n = 100003;
	float *p = randoms(11, n), *m = randoms(12, n), *g = randoms(13, n);
	double *p1 = doubles(n), *m1 = doubles(n);
	struct operands o = { .n = n, .x = g, .step = &s };
	struct output out[2] = { { n, p, p1, 3e-7, NULL }, { n, m, m1, 3e-7, NULL } };

	m[5] = g[5] = 0;        /* no way to go: only the decay */
	for (size_t i = 0; i < n; i++) {
		double way = 0.75 * m[i] + 0.25 * 0.5 * g[i];
		p1[i] = p[i] * (1 - 0.125 * 0.25) - 0.125 * ((way > 0) - (way < 0));
		m1[i] = 0.5 * m[i] + 0.5 * 0.5 * g[i];
	}
	every_way(out, 2, run_lion, &o);
	free(p1);
	free(m1);
	guarded_free(p);
	guarded_free(m);
	guarded_free(g);
}

/* p moves by u; its length stays below the clip, so that it is size * scale * u. */
static void factored(const struct factored_shape s)
{
	const size_t rows = (size_t)s.outer * s.rows * s.inner, cols = (size_t)s.outer * s.cols * s.inner,
		n = rows * s.cols;
	const double share = 0.25, eps = 1e-3;
	const struct adafactor_step step = { .share = share, .size = 0.5, .least_scale = 1e-3, .scaled = true,
					     .clip = 1e6, .decay = 0.25, .eps = eps, .grad_scale = 2 };
	float *p = randoms(20, n), *g = randoms(21, n), *row = randoms(22, rows), *col = randoms(23, cols);
	double *p1 = doubles(n), *r1 = doubles(rows), *c1 = doubles(cols), squares = 0, size;
	struct operands o = { .x = g, .adafactor = &step, .shape = s };
	struct output out[3] = { { n, p, p1, 2e-6, NULL }, { rows, row, r1, 3e-7, NULL },
				 { cols, col, c1, 3e-7, NULL } };

#define AT(o, r, c, i) (((size_t)((o) * s.rows + (r)) * s.cols + (c)) * s.inner + (i))
#define ROW(o, r, i) ((size_t)((o) * s.rows + (r)) * s.inner + (i))
#define COL(o, c, i) ((size_t)((o) * s.cols + (c)) * s.inner + (i))
	for (size_t i = 0; i < rows; i++)
		r1[i] = (1 - share) * (row[i] = fabsf(row[i]) + 0.1f) + share * eps;
	for (size_t i = 0; i < cols; i++)
		c1[i] = (1 - share) * (col[i] = fabsf(col[i]) + 0.1f) + share * eps;
	for (int k = 0; k < s.outer; k++)
		for (int r = 0; r < s.rows; r++)
			for (int c = 0; c < s.cols; c++)
				for (int i = 0; i < s.inner; i++) {
					double square = pow(2 * g[AT(k, r, c, i)], 2);
					r1[ROW(k, r, i)] += share * square / s.cols;
					c1[COL(k, c, i)] += share * square / s.rows;
				}
	for (size_t i = 0; i < n; i++)
		squares += (double)p[i] * p[i];
	size = 0.5 * fmax(1e-3, sqrt(squares / n));
	for (int k = 0; k < s.outer; k++)
		for (int i = 0; i < s.inner; i++) {
			double mean = 0;
			for (int r = 0; r < s.rows; r++)
				mean += r1[ROW(k, r, i)] / s.rows;
			for (int r = 0; r < s.rows; r++)
				for (int c = 0; c < s.cols; c++)
					p1[AT(k, r, c, i)] = (1 - 0.25 * size) * p[AT(k, r, c, i)] -
						size * 2 * g[AT(k, r, c, i)] /
						sqrt(r1[ROW(k, r, i)] / mean * c1[COL(k, c, i)]);
		}
	every_way(out, 3, run_adafactor, &o);
	free(p1);
	free(r1);
	free(c1);
	guarded_free(p);
	guarded_free(g);
	guarded_free(row);
	guarded_free(col);
}

/* Linear layers wide and high, a 3x3 convolution, its 1x1 up. */
static void adafactor_agrees_with_double(void **state)
{
	factored((struct factored_shape){ 1, 300, 700, 1 });
	factored((struct factored_shape){ 1, 5000, 4, 1 });
	factored((struct factored_shape){ 16, 3, 3, 320 });
	factored((struct factored_shape){ 640, 1, 1, 16 });
	factored((struct factored_shape){ 1, 1, 1, 1 });
}

/* Sums of products that are exact in double, in two orders: n * 1e-16 at the very worst; the same for any number of
 * threads. */
static void sums(void **state)
{
	const size_t n = 300007;
	float *x = randoms(31, n);
	double squares = 0, first = 0;

	for (size_t i = 0; i < n; i++)
		squares += (double)x[i] * x[i];
	for (int threads = 1; threads <= 3; threads++) {
		const struct trained t = { .grad = x, .n = n };
		struct error e;
		struct device *d;
		double got;

		threads_use(threads);
		d = cpu_backend.open(&e);
		cpu_backend.sum_squares(d, &got, &t, 1);
		assert_true(fabs(got / squares - 1) < 1e-10);
		if (threads == 1)
			first = got;
		assert_memory_equal(&first, &got, sizeof(got));
		x[n / 2] = threads == 3 ? NAN : x[n / 2];
		cpu_backend.sum_squares(d, &got, &t, 1);
		assert_int_equal(isnan(got), threads == 3);
		cpu_backend.close(d);
	}
	threads_use(0);
	guarded_free(x);
}

/* Values are tests/unit/optimizer.c's; here: one byte an element whatever the number of threads,
 * and nothing past the end. */
static void bytes_do_not_depend_on_threads(void **state)
{
	enum { N = 50003, BLOCKS = (N + ADAM8_BLOCK - 1) / ADAM8_BLOCK };
	const struct adamw_step s = { .lr = 1e-3f, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8f, .decay = 0.01f,
				      .correction1 = 0.1f, .correction2 = 1e-3f, .grad_scale = 1 };
	static uint8_t code[2][2][N + 1];
	float *g = randoms(41, N), *absmax[2] = { randoms(42, BLOCKS), randoms(43, BLOCKS) }, map[2 * 256], *p[2];
	double moved[2];

	for (int i = 0; i < 256; i++) {
		map[i] = (i - 127) / 128.0f;
		map[256 + i] = i / 255.0f;
	}
	for (int way = 0; way < 2; way++) {
		struct error e;
		struct device *d;
		struct trained t = { NULL, g, { code[way][0], code[way][1], absmax[0], absmax[1] }, N };

		memset(code[way], 0, sizeof(code[way]));
		code[way][0][N] = code[way][1][N] = 0xa5;
		for (int i = 0; i < BLOCKS; i++)
			absmax[0][i] = absmax[1][i] = 0;
		t.p = p[way] = randoms(44, N);
		threads_use(way ? 3 : 1);
		d = cpu_backend.open(&e);
		cpu_backend.adamw8bit(d, &moved[way], &t, &s, map, 1);
		cpu_backend.adamw8bit(d, &moved[way], &t, &s, map, 1);
		cpu_backend.close(d);
		assert_guards(p[way], N);
		assert_guards(absmax[0], BLOCKS);
		assert_int_equal(code[way][0][N], 0xa5);
	}
	assert_memory_equal(p[0], p[1], N * sizeof(float));
	assert_memory_equal(code[0], code[1], sizeof(code[0]));
	assert_memory_equal(&moved[0], &moved[1], sizeof(moved[0]));
	for (int i = 0; i < N; i++)
		assert_false(g[i] < 0 && code[0][0][i] >= 127);        /* a negative moment never becomes 0 */
	threads_use(0);
	guarded_free(g);
	guarded_free(absmax[0]);
	guarded_free(absmax[1]);
	guarded_free(p[0]);
	guarded_free(p[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(elementwise), cmocka_unit_test(adamw_agrees_with_double),
		cmocka_unit_test(lion_agrees_with_double),
		cmocka_unit_test(adafactor_agrees_with_double), cmocka_unit_test(sums),
		cmocka_unit_test(bytes_do_not_depend_on_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
