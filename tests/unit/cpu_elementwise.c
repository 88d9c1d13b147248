/* The CPU's elementwise operations against double precision. */
#include "cpu_reference.h"

/* An exponential of 1.1 ulp, a division and a few products: under ten roundings of 6e-8. */
#define TOLERANCE 6e-7
enum { N = 100003 };    /* several chunks, and a tail that is no whole vector */

struct elementwise_args { const float *x, *z, *dy; enum activation kind; int add, rows, c; float a, b; };

static double normal_integral(double x) { return erfc(-x / sqrt(2)) / 2; }

static double activate(double x, enum activation kind)
{
	switch (kind) {
	case ACT_GELU: return x * normal_integral(x);
	case ACT_QUICK_GELU: return x / (1 + exp(-1.702 * x));
	default: return x / (1 + exp(-x));
	}
}

static double slope(double x, enum activation kind)
{
	const double a = kind == ACT_QUICK_GELU ? 1.702 : 1, s = 1 / (1 + exp(-a * x));

	if (kind == ACT_GELU)
		return normal_integral(x) + x * exp(-x * x / 2) / sqrt(2 * M_PI);
	return s * (1 + a * x * (1 - s));
}

static void run_activation(struct device *d, struct output *out, const void *arg)
{
	const struct elementwise_args *a = arg;

	cpu_backend.activation(d, f32(out->data), f32(a->x), N, a->kind);
}

static void run_activation_back(struct device *d, struct output *out, const void *arg)
{
	const struct elementwise_args *a = arg;

	cpu_backend.activation_back(d, f32(out->data), f32(a->dy), f32(a->x), N, a->kind, a->add);
}

static void activations_agree_with_double(void **state)
{
	float *x = randoms(51, N), *dy = randoms(52, N), *before = randoms(53, N);
	double *expect = doubles(N);

	for (int i = 0; i < N; i++)
		x[i] *= i % 3 ? 4 : 20;
	for (int kind = 0; kind < 3; kind++) {
		struct elementwise_args a = { .x = x, .dy = dy, .kind = kind };
		struct output out = { N, NULL, expect, TOLERANCE, NULL };

		for (int i = 0; i < N; i++)
			expect[i] = activate(x[i], kind);
		every_way(&out, 1, run_activation, &a);
		for (a.add = 0; a.add < 2; a.add++) {
			out.before = a.add ? before : NULL;
			for (int i = 0; i < N; i++)
				expect[i] = dy[i] * slope(x[i], kind) + (a.add ? before[i] : 0);
			every_way(&out, 1, run_activation_back, &a);
		}
	}
	free(expect);
	guarded_free(x);
	guarded_free(dy);
	guarded_free(before);
}

/* The left tail, where 1 + erf would have lost every digit: relative error.  exp(-x*x/2) turns the rounding of its
 * exponent, up to 50 here, into a relative error of 50 * 6e-8. */
static void tail_keeps_its_digits(void **state)
{
	struct error e;
	struct device *d = cpu_backend.open(&e);
	float x[1000], y[1000];

	for (int i = 0; i < 1000; i++)
		x[i] = -10 + i / 100.f;
	for (int kind = 0; kind < 3; kind++) {
		cpu_backend.activation(d, f32(y), f32(x), 1000, kind);
		for (int i = 0; i < 1000; i++)
			assert_true(fabs(y[i] / activate(x[i], kind) - 1) < 1e-5);
	}
	cpu_backend.close(d);
}

/* A NaN stays one; infinity and the largest numbers give what the formula's limit says, or NaN where it has none. */
static void special_values(void **state)
{
	static const float x[9] = { NAN, 3e38f, -1e30f, 100, -100, 1e-40f, 0, INFINITY, -NAN };
	static const float ones[9] = { 1, 1, 1, 1, 1, 1, 1, 1, 1 };
	struct error e;
	struct device *d = cpu_backend.open(&e);
	float y[9];

	for (int kind = 0; cpu_set_at(kind / 3); kind++) {
		d->k = cpu_set_at(kind / 3);
		cpu_backend.activation(d, f32(y), f32(x), 9, kind % 3);
		assert_true(isnan(y[0]) && isnan(y[8]));
		assert_true(y[1] == x[1] && y[3] == 100 && y[7] == INFINITY && y[6] == 0);
		assert_true(fabs(y[4]) < 1e-30 && fabs(y[2]) < 1e-6);
		cpu_backend.activation_back(d, f32(y), f32(ones), f32(x), 9, kind % 3, 0);
		assert_true(isnan(y[0]) && isnan(y[8]));
		assert_true(y[3] == 1 && fabs(y[4]) < 1e-30 && fabs(y[6] - .5) < 1e-6);
	}
	cpu_backend.close(d);
}

static void run_geglu(struct device *d, struct output *out, const void *arg)
{
	const struct elementwise_args *a = arg;

	cpu_backend.geglu(d, f32(out->data), f32(a->x), a->rows, a->c);
}

static void run_geglu_back(struct device *d, struct output *out, const void *arg)
{
	const struct elementwise_args *a = arg;

	cpu_backend.geglu_back(d, f32(out->data), f32(a->dy), f32(a->x), a->rows, a->c, a->add);
}

static void geglu_agrees_with_double(void **state)
{
	static const int shapes[][2] = { { 1, 1 }, { 7, 13 }, { 300, 128 }, { 33, 1283 } };

	for (size_t t = 0; t < sizeof(shapes) / sizeof(*shapes); t++) {
		const int rows = shapes[t][0], c = shapes[t][1];
		const size_t n = (size_t)rows * c;
		float *x = randoms(54, 2 * n), *dy = randoms(55, n), *before = randoms(56, 2 * n);
		double *y = doubles(n), *dx = doubles(2 * n);
		struct elementwise_args a = { .x = x, .dy = dy, .rows = rows, .c = c };
		struct output out = { n, NULL, y, TOLERANCE, NULL };

		for (size_t i = 0; i < 2 * n; i++)
			x[i] *= 3;
		for (size_t i = 0; i < n; i++)
			y[i] = x[i / c * 2 * c + i % c] * activate(x[i / c * 2 * c + c + i % c], ACT_GELU);
		every_way(&out, 1, run_geglu, &a);
		for (a.add = 0; a.add < 2; a.add++) {
			for (size_t i = 0; i < n; i++) {
				const size_t v = i / c * 2 * c + i % c, g = v + c;

				dx[v] = dy[i] * activate(x[g], ACT_GELU) + (a.add ? before[v] : 0);
				dx[g] = dy[i] * x[v] * slope(x[g], ACT_GELU) + (a.add ? before[g] : 0);
			}
			out = (struct output){ 2 * n, a.add ? before : NULL, dx, TOLERANCE, NULL };
			every_way(&out, 1, run_geglu_back, &a);
		}
		free(y);
		free(dx);
		guarded_free(x);
		guarded_free(dy);
		guarded_free(before);
	}
}

static void run_axpby(struct device *d, struct output *out, const void *arg)
{
	const struct elementwise_args *a = arg;

	cpu_backend.axpby(d, f32(out->data), a->a, f32(a->x), a->b, N);
}

static void run_axpby_in_place(struct device *d, struct output *out, const void *arg)
{
	const struct elementwise_args *a = arg;

	cpu_backend.axpby(d, f32(out->data), a->a, f32(out->data), a->b, N);
}

static void run_add(struct device *d, struct output *out, const void *arg)
{
	const struct elementwise_args *a = arg;

	cpu_backend.add(d, f32(out->data), f32(a->x), f32(a->z), N);
}

static void run_copy_and_zero(struct device *d, struct output *out, const void *arg)
{
	const struct elementwise_args *a = arg;

	cpu_backend.zero(d, f32(out->data), N);
	cpu_backend.copy(d, out->data + 10, a->x + 10, N - 20);
}

static void sums_agree_with_double(void **state)
{
	float *x = randoms(57, N), *z = randoms(58, N), *before = randoms(59, N);
	double *expect = doubles(N);
	struct elementwise_args a = { .x = x, .z = z, .a = 0.3f, .b = -2 };
	struct output out = { N, before, expect, 2e-7, NULL };          /* three roundings */

	for (int i = 0; i < N; i++)
		expect[i] = (double)a.a * x[i] + (double)a.b * before[i];
	every_way(&out, 1, run_axpby, &a);
	for (int i = 0; i < N; i++)
		expect[i] = ((double)a.a + a.b) * before[i];
	every_way(&out, 1, run_axpby_in_place, &a);
	out.before = NULL;
	a.b = 0;
	for (int i = 0; i < N; i++)
		expect[i] = (double)a.a * x[i];
	every_way(&out, 1, run_axpby, &a);
	for (int i = 0; i < N; i++)
		expect[i] = (double)x[i] + z[i];
	every_way(&out, 1, run_add, &a);
	out.tolerance = 0;
	for (int i = 0; i < N; i++)
		expect[i] = i < 10 || i >= N - 10 ? 0 : x[i];
	every_way(&out, 1, run_copy_and_zero, &a);
	free(expect);
	guarded_free(x);
	guarded_free(z);
	guarded_free(before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(activations_agree_with_double), cmocka_unit_test(tail_keeps_its_digits),
			cmocka_unit_test(special_values),
		cmocka_unit_test(geglu_agrees_with_double), cmocka_unit_test(sums_agree_with_double),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
