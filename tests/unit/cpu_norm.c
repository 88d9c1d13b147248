/* The CPU's norms against double precision. */
#include "cpu_reference.h"

/* Statistics are exact to double rounding, so what is left is a handful of float operations an element (6e-8 each),
 * and the mean, rounded to float, of inputs that lie up to 30 deviations from 0: 2e-6 of a deviation. */
#define TOLERANCE 4e-6

static const struct norm_shape cases[] = {
	{ 1, 1, 5, 1, 1e-5f, false }, { 2, 5, 6, 3, 1e-6f, true }, { 3, 77, 33, 11, 1e-5f, false },
		{ 1, 300, 320, 32, 1e-5f, true },
	{ 2, 1024, 96, 32, 1e-5f, true }, { 1, 7000, 24, 4, 1e-6f, false }, { 1, 3, 2560, 32, 1e-5f, true },
};

struct norm_args {
	const struct norm_shape *s;
	const float *x, *dy, *gain, *bias, *stats;
	int add;
	float eps;
};

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double silu_slope(double x) { return sigmoid(x) * (1 + x * (1 - sigmoid(x))); }

/* Where element (row r, channel i) of group g of sample n is. */
static size_t at(const struct norm_shape *s, int n, int r, int i) { return ((size_t)n * s->hw + r) * s->c + i; }

static void group_stats(double stats[2], const struct norm_shape *s, const double *x, int n, int g)
{
	const int width = s->c / s->groups;
	double mean = 0, variance = 0;

	for (int r = 0; r < s->hw; r++)
		for (int i = 0; i < width; i++)
			mean += x[at(s, n, r, g * width + i)];
	mean /= (double)s->hw * width;
	for (int r = 0; r < s->hw; r++)
		for (int i = 0; i < width; i++)
			variance += pow(x[at(s, n, r, g * width + i)] - mean, 2);
	stats[0] = mean;
	stats[1] = 1 / sqrt(variance / ((double)s->hw * width) + s->eps);
}

static void forward(double *y, double *stats, const struct norm_shape *s, const double *x, const float *gain,
		    const float *bias)
{
	const int width = s->c / s->groups;

	for (int n = 0; n < s->n; n++)
		for (int g = 0; g < s->groups; g++) {
			double *st = &stats[2 * (n * s->groups + g)];

			group_stats(st, s, x, n, g);
			for (int r = 0; r < s->hw; r++)
				for (int i = g * width; i < (g + 1) * width; i++) {
					double z = (x[at(s, n, r, i)] - st[0]) * st[1] * gain[i] + bias[i];

					y[at(s, n, r, i)] = s->silu ? z * sigmoid(z) : z;
				}
		}
}

static void backward(double *dx, const struct norm_shape *s, const double *x, const float *dy, const float *gain,
		     const float *bias)
{
	const int width = s->c / s->groups;

	for (int n = 0; n < s->n; n++)
		for (int g = 0; g < s->groups; g++) {
			double st[2], count = (double)s->hw * width, mean = 0, dot = 0;

			group_stats(st, s, x, n, g);
			for (int pass = 0; pass < 2; pass++)
				for (int r = 0; r < s->hw; r++)
					for (int i = g * width; i < (g + 1) * width; i++) {
						double hat = (x[at(s, n, r, i)] - st[0]) * st[1],
							z = hat * gain[i] + bias[i];
						double d = dy[at(s, n, r, i)] * gain[i] * (s->silu ? silu_slope(z) : 1);

						if (pass) {
							dx[at(s, n, r, i)] += st[1] * (d - (mean + hat * dot) / count);
						} else {
							mean += d;
							dot += d * hat;
						}
					}
		}
}

static void run_forward(struct device *d, struct output *out, const void *arg)
{
	const struct norm_args *a = arg;

	cpu_backend.group_norm(d, f32(out[0].data), out[1].data, f32(a->x), a->gain, a->bias, a->s);
}

static void run_backward(struct device *d, struct output *out, const void *arg)
{
	const struct norm_args *a = arg;

	cpu_backend.group_norm_back(d, f32(out->data), f32(a->dy), f32(a->x), a->stats, a->gain, a->bias, a->s, a->add);
}

/* what out holds before is x */
static void run_backward_in_place(struct device *d, struct output *out, const void *arg)
{
	const struct norm_args *a = arg;

	cpu_backend.group_norm_back(d, f32(out->data), f32(a->dy), f32(out->data), a->stats, a->gain, a->bias, a->s, 0);
}

static void run_layer_forward(struct device *d, struct output *out, const void *arg)
{
	const struct norm_args *a = arg;

	cpu_backend.layer_norm(d, f32(out[0].data), out[1].data, NULL, f32(a->x), f32(NULL), a->gain, a->bias, a->s->n,
			       a->s->c, a->s->eps);
}

static void run_layer_backward(struct device *d, struct output *out, const void *arg)
{
	const struct norm_args *a = arg;

	cpu_backend.layer_norm_back(d, f32(out->data), f32(NULL), f32(a->dy), f32(a->x), a->stats, a->gain, a->s->n,
				    a->s->c, a->add);
}

/* A layer norm is a group norm of one group over one row a sample. */
static void check(const struct norm_shape *s, bool layer)
{
	const size_t n = (size_t)s->n * s->hw * s->c, ns = (size_t)2 * s->n * s->groups;
	float *x = randoms(31, n), *dy = randoms(32, n), *gain = randoms(33, s->c), *bias = randoms(34, s->c),
		*before = randoms(35, n);
	float *stats = guarded(ns);
	double *wide = doubles(n), *y = doubles(n), *st = doubles(ns), *dx = doubles(n);
	struct norm_args a = { .s = s, .x = x, .dy = dy, .gain = gain, .bias = bias, .stats = stats };
	struct output out[2] = { { n, NULL, y, TOLERANCE, NULL }, { ns, NULL, st, TOLERANCE, NULL } };

	for (size_t i = 0; i < n; i++) {
		x[i] = x[i] * 2 + i % s->c % 5 * 4;     /* channels differ in their means */
		wide[i] = x[i];
	}
	forward(y, st, s, wide, gain, bias);
	every_way(out, 2, layer ? run_layer_forward : run_forward, &a);
	for (size_t i = 0; i < ns; i++)
		stats[i] = st[i];
	for (a.add = 0; a.add < 2; a.add++) {
		for (size_t i = 0; i < n; i++)
			dx[i] = a.add ? before[i] : 0;
		backward(dx, s, wide, dy, gain, bias);
		out[0] = (struct output){ n, a.add ? before : NULL, dx, TOLERANCE, NULL };
		every_way(out, 1, layer ? run_layer_backward : run_backward, &a);
		if (layer || a.add)
			continue;
		out[0].before = x;
		every_way(out, 1, run_backward_in_place, &a);
	}
	free(wide); free(y); free(st); free(dx);
	guarded_free(x);
	guarded_free(dy);
	guarded_free(gain);
	guarded_free(bias);
	guarded_free(before);
	guarded_free(stats);
}

static void group_norm_agrees_with_double(void **state)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		check(&cases[i], false);
}

static void layer_norm_agrees_with_double(void **state)
{
	static const int shapes[][2] = { { 1, 4 }, { 3, 7 }, { 77, 64 }, { 130, 1283 }, { 513, 96 } };

	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
		const struct norm_shape s = { shapes[i][0], 1, shapes[i][1], 1, 1e-5f, false };

		check(&s, true);
	}
}

/* To the bit what two calls give; the sum or the norm may lie over one of the terms. */
static void check_sum(struct device *d, int rows, int c, int over)
{
	const size_t n = (size_t)rows * c, bytes = n * sizeof(float);
	float *x = randoms(51, n), *z = randoms(52, n), *gain = randoms(53, c), *bias = randoms(54, c);
	float *want_sum = guarded(n), *want = guarded(n), *want_stats = guarded(2 * rows), *stats = guarded(2 * rows);
	float *first = guarded(n), *second = guarded(n), *sum = over == 1 ? z : first, *y = over == 2 ? z : second;

	cpu_backend.add(d, f32(want_sum), f32(x), f32(z), n);
	cpu_backend.layer_norm(d, f32(want), want_stats, NULL, f32(want_sum), f32(NULL), gain, bias, rows, c, 1e-5f);
	cpu_backend.layer_norm(d, f32(y), stats, sum, f32(x), f32(z), gain, bias, rows, c, 1e-5f);
	assert_memory_equal(sum, want_sum, bytes);
	assert_memory_equal(y, want, bytes);
	assert_memory_equal(stats, want_stats, 2 * rows * sizeof(float));
	guarded_free(x);
	guarded_free(z);
	guarded_free(gain);
	guarded_free(bias);
	guarded_free(want_sum);
	guarded_free(want);
	guarded_free(want_stats);
	guarded_free(stats);
	guarded_free(first);
	guarded_free(second);
}

/* The gradient that is left a second time, which may lie over what it is made of. */
static void check_sum_back(struct device *d, int rows, int c, bool over)
{
	const size_t n = (size_t)rows * c, bytes = n * sizeof(float);
	float *x = randoms(51, n), *dy = randoms(52, n), *gain = randoms(53, c), *stats = randoms(54, 2 * rows);
	float *want = randoms(55, n), *dx = randoms(55, n), *own = guarded(n), *also = over ? dy : own;

	cpu_backend.layer_norm_back(d, f32(want), f32(NULL), f32(dy), f32(x), stats, gain, rows, c, 1);
	cpu_backend.layer_norm_back(d, f32(dx), f32(also), f32(dy), f32(x), stats, gain, rows, c, 1);
	assert_memory_equal(dx, want, bytes);
	assert_memory_equal(also, want, bytes);
	guarded_free(x);
	guarded_free(dy);
	guarded_free(gain);
	guarded_free(stats);
	guarded_free(want);
	guarded_free(dx);
	guarded_free(own);
}

static void layer_norm_of_a_sum_is_that_of_two_calls(void **state)
{
	static const int shapes[][2] = { { 1, 4 }, { 3, 7 }, { 77, 64 }, { 130, 1283 } };
	struct error e;
	struct device *d = cpu_backend.open(&e);

	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
		for (int over = 0; over < 3; over++)
			check_sum(d, shapes[i][0], shapes[i][1], over);
	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
		for (int over = 0; over < 2; over++)
			check_sum_back(d, shapes[i][0], shapes[i][1], over);
	cpu_backend.close(d);
}

static void reference_gradient_is_the_slope(void **state)
{
	for (int silu = 0; silu < 2; silu++) {
		const struct norm_shape s = { 2, 3, 6, 2, 1e-3f, silu };
		enum { N = 2 * 3 * 6 };
		float *x = randoms(36, N), *dy = randoms(37, N), *gain = randoms(38, 6), *bias = randoms(39, 6);
		double wide[N], y[N], stats[8], dx[N] = { 0 };

		for (int i = 0; i < N; i++)
			wide[i] = x[i];
		backward(dx, &s, wide, dy, gain, bias);
		for (int i = 0; i < N; i++) {
			const double step = 1e-5;
			double slope = 0;

			for (int side = -1; side <= 1; side += 2) {
				wide[i] = x[i] + side * step;
				forward(y, stats, &s, wide, gain, bias);
				for (int k = 0; k < N; k++)
					slope += side * y[k] * dy[k] / (2 * step);
			}
			wide[i] = x[i];
			/* The quotient errs by the third derivative, some tens here, times step^2. */
			assert_true(fabs(slope - dx[i]) < 1e-7);
		}
		guarded_free(x);
		guarded_free(dy);
		guarded_free(gain);
		guarded_free(bias);
	}
}

/* Values of 1000 +- 0.01: the mean squared is 1e10 times the variance. */
static void great_mean_small_spread(void **state)
{
	const struct norm_shape s = { 1, 64, 8, 2, 1e-5f, false };
	float *x = randoms(40, 512), gain[8], bias[8] = { 0 };
	double *wide = doubles(512), *y = doubles(512), *stats = doubles(4);
	struct norm_args a = { .s = &s, .x = x, .gain = gain, .bias = bias };
	struct output out[2] = { { 512, NULL, y, 0, NULL }, { 4, NULL, stats, 1e-5, NULL } };

	for (int i = 0; i < 512; i++)
		wide[i] = x[i] = 1000 + x[i] / 100;
	for (int i = 0; i < 8; i++)
		gain[i] = 1;
	forward(y, stats, &s, wide, gain, bias);
	/* The mean rounded to float is off by up to 3e-5, 0.5 % of a deviation; a variance in float would be off by
	 * everything. */
	out[0].tolerance = 1e-2;
	every_way(out, 2, run_forward, &a);
	free(wide); free(y); free(stats);
	guarded_free(x);
}

/* Any cut into bands: the bytes of the whole, in the end and at the start of the next picture. */
static void bands_give_the_bytes_of_the_whole(void **state)
{
	static const struct norm_shape shapes[] = { { 1, 7000, 24, 4, 1e-6f, true }, { 1, 5000, 128, 32, 1e-6f, true },
						    { 1, 301, 33, 11, 1e-5f, false } };
	static const int cuts[] = { 1, 100, 128, 681, 4096, 10000 };
	struct error e;
	struct device *d = cpu_backend.open(&e);

	for (size_t i = 0; i < 3 * sizeof(cuts) / sizeof(*cuts); i++) {
		const struct norm_shape *s = &shapes[i % 3];
		const int cut = cuts[i / 3], n = s->hw * s->c;
		float *x = randoms(44, n), *gain = randoms(45, s->c), *bias = randoms(46, s->c), *y = guarded(n),
			*z = guarded(n);
		float *sums = guarded(group_sums_floats(s->c)), stats[64], same[64];

		cpu_backend.group_norm(d, f32(y), stats, f32(x), gain, bias, s);
		for (int at = 0; at < s->hw; at += cut)
			cpu_backend.group_norm_sums(d, same, sums, x + (size_t)at * s->c, at, cut < s->hw - at ? cut :
						    s->hw - at, s);
		assert_memory_equal(same, stats, 2 * s->groups * sizeof(float));
		for (int at = 0; at < s->hw; at += cut) {
			struct norm_shape band = *s;
			band.hw = cut < s->hw - at ? cut : s->hw - at;
			cpu_backend.group_norm_apply(d, z + (size_t)at * s->c, same, x + (size_t)at * s->c, gain, bias,
						     &band);
		}
		assert_memory_equal(z, y, n * sizeof(float));
		guarded_free(x); guarded_free(gain); guarded_free(bias); guarded_free(y); guarded_free(z);
		guarded_free(sums);
	}
	cpu_backend.close(d);
}

static void nan_stays_in_its_group(void **state)
{
	const struct norm_shape s = { 2, 50, 12, 3, 1e-5f, true };
	struct error e;
	struct device *d = cpu_backend.open(&e);
	float *x = randoms(41, 1200), *y = guarded(1200), *gain = randoms(42, 12), *bias = randoms(43, 12), stats[12];

	x[at(&s, 1, 20, 5)] = NAN;
	cpu_backend.group_norm(d, f32(y), stats, f32(x), gain, bias, &s);
	for (int i = 0; i < 1200; i++)
		assert_int_equal(!!isnan(y[i]), i >= 600 && i % 12 / 4 == 1);
	cpu_backend.layer_norm(d, f32(y), stats, NULL, f32(x + 820), f32(NULL), gain, bias, 6, 10, 1e-5f);
	for (int i = 0; i < 60; i++)
		assert_int_equal(!!isnan(y[i]), i / 10 == 2);
	cpu_backend.close(d);
	guarded_free(x);
	guarded_free(y);
	guarded_free(gain);
	guarded_free(bias);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(group_norm_agrees_with_double), cmocka_unit_test(layer_norm_agrees_with_double),
		cmocka_unit_test(layer_norm_of_a_sum_is_that_of_two_calls),
		cmocka_unit_test(reference_gradient_is_the_slope), cmocka_unit_test(great_mean_small_spread),
		cmocka_unit_test(nan_stays_in_its_group), cmocka_unit_test(bands_give_the_bytes_of_the_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
