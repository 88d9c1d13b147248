/* The CPU's mean squared error against double precision. */
#include "cpu_reference.h"

struct loss_args {
	int n, add;
	size_t each;
	const float *x, *target, *weight, *dloss;
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

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(squares_agree_with_double) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
