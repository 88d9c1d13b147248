/* The CPU's mean squared error and sums against double precision. */
#include "cpu_reference.h"

struct loss_args {
	int n, add;
	size_t each;
	const float *x, *target, *weight, *dloss, *grad;
	const struct adamw_step *step;
};

static void run_squares(struct device *d, struct output *out, const void *arg)
{
	const struct loss_args *a = arg;
	const struct loss_terms terms = { LOSS_L2, a->n, a->each, 1, a->weight };

	cpu_backend.loss(d, out->data, a->x, a->target, &terms);
}

static void run_squares_back(struct device *d, struct output *out, const void *arg)
{
	const struct loss_args *a = arg;
	const struct loss_terms terms = { LOSS_L2, a->n, a->each, 1, a->weight };

	cpu_backend.loss_back(d, out->data, a->dloss, a->x, a->target, &terms, a->add);
}

/* The sum is in double: what is left is the difference's rounding, 6e-8 an element and averaged, and the result's. */
static void squares_agree_with_double(void **state)
{
	static const struct { int n; size_t each; } shapes[] = { { 1, 1 }, { 3, 5 }, { 2, 16384 }, { 4, 130001 } };

	for (size_t t = 0; t < sizeof(shapes) / sizeof(*shapes); t++) {
		const int n = shapes[t].n;
		const size_t each = shapes[t].each, all = n * each;
		float *x = randoms(71, all), *target = randoms(72, all), *weight = randoms(73, n),
			*dloss = randoms(74, n), *before = randoms(75, all);
		double *loss = doubles(n), *dx = doubles(all);
		struct loss_args a = { .n = n, .each = each, .x = x, .target = target, .weight = weight,
				       .dloss = dloss };
		struct output out = { n, NULL, loss, 2e-7, NULL };

		for (size_t i = 0; i < all; i++)
			loss[i / each] += pow((double)x[i] - target[i], 2) * weight[i / each] / each;
		every_way(&out, 1, run_squares, &a);
		for (a.add = 0; a.add < 2; a.add++) {
			for (size_t i = 0; i < all; i++)
				dx[i] = 2 * ((double)x[i] - target[i]) * weight[i / each] * dloss[i / each] / each +
					(a.add ? before[i] : 0);
			out = (struct output){ all, a.add ? before : NULL, dx, 3e-7, NULL };
			every_way(&out, 1, run_squares_back, &a);
		}
		x[all - 1] = NAN;
		loss[n - 1] = NAN;
		out = (struct output){ n, NULL, loss, 2e-7, NULL };
		every_way(&out, 1, run_squares, &a);
		free(loss);
		free(dx);
		guarded_free(x);
		guarded_free(target);
		guarded_free(weight);
		guarded_free(dloss);
		guarded_free(before);
	}
}

static void sum_of_squares(void **state)
{
	const size_t n = 1000003;
	float *x = randoms(76, n);
	double expect = 0, first = 0;

	for (size_t i = 0; i < n; i++)
		expect += (double)x[i] * x[i];
	for (int threads = 1; threads <= 3; threads++) {
		struct error e;
		struct device *d;
		double got;

		threads_use(threads);
		d = cpu_backend.open(&e);
		cpu_backend.sum_squares(d, &got, x, n);
		/* Both are exact products summed in double, in two orders: n * 1e-16 at the very worst. */
		assert_true(fabs(got / expect - 1) < 1e-10);
		if (threads == 1)
			first = got;
		assert_memory_equal(&got, &first, sizeof(got));
		x[n / 2] = threads == 3 ? NAN : x[n / 2];
		cpu_backend.sum_squares(d, &got, x, n);
		assert_int_equal(isnan(got), threads == 3);
		cpu_backend.close(d);
	}
	guarded_free(x);
}

static void run_adamw(struct device *d, struct output *out, const void *arg)
{
	const struct loss_args *a = arg;

	cpu_backend.adamw(d, out[0].data, out[1].data, out[2].data, a->grad, out[0].n, a->step);
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
		struct loss_args a = { .grad = grad, .step = s };
		struct output out[3] = { { n, p, p1, 1e-6, NULL }, { n, m, m1, 3e-7, NULL }, { n, v, v1, 3e-7, NULL } };

		for (size_t i = 0; i < n; i++) {
			double g = (double)grad[i] * s->grad_scale;

			v[i] = v[i] < 0 ? -v[i] : v[i];
			m1[i] = s->beta1 * m[i] + (1 - (double)s->beta1) * g;
			v1[i] = s->beta2 * v[i] + (1 - (double)s->beta2) * g * g;
			p1[i] = p[i] * (1 - (double)s->lr * s->decay) -
				s->lr / s->correction1 * m1[i] / (sqrt(v1[i]) / sqrt(s->correction2) + s->eps);
		}
		every_way(out, 3, run_adamw, &a);
		free(p1); free(m1); free(v1);
		guarded_free(p);
		guarded_free(m);
		guarded_free(v);
		guarded_free(grad);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(squares_agree_with_double),
					    cmocka_unit_test(sum_of_squares),
					    cmocka_unit_test(adamw_agrees_with_double) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
