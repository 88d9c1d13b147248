/* The CPU's losses of every kind against their formulas. */
#include "cpu_reference.h"

struct loss_args {
	int add;
	struct loss_terms terms;
	const float *x, *target, *dloss;
};

static void run_loss(struct device *d, struct output *out, const void *arg)
{
	const struct loss_args *a = arg;

	cpu_backend.loss(d, out->data, a->x, a->target, &a->terms);
}

static void run_loss_back(struct device *d, struct output *out, const void *arg)
{
	const struct loss_args *a = arg;

	cpu_backend.loss_back(d, out->data, a->dloss, a->x, a->target, &a->terms, a->add);
}

static double formula(enum loss_kind kind, double d, double c)
{
	const double root = sqrt(d * d + c * c) - c;

	return kind == LOSS_L2 ? d * d : kind == LOSS_L1 ? fabs(d) : kind == LOSS_HUBER ? 2 * c * root : 2 * root;
}

static double derivative(enum loss_kind kind, double d, double c)
{
	const double s = d / sqrt(d * d + c * c);

	return kind == LOSS_L2 ? 2 * d : kind == LOSS_L1 ? (d > 0) - (d < 0) : kind == LOSS_HUBER ? 2 * c * s : 2 * s;
}

/* Everything is computed in double: what is left is the rounding of the result. */
static void check_loss(enum loss_kind kind, bool masked, int n, int pixels, int channels)
{
	const size_t each = (size_t)pixels * channels, all = n * each;
	float *x = randoms(71, all), *target = randoms(72, all), *weight = randoms(73, n), *dloss = randoms(74, n);
	float *before = randoms(75, all), *c = randoms(81, n), *mask = randoms(82, (size_t)n * pixels);
	double *loss = doubles(n), *dx = doubles(all);
	struct loss_args a = { .terms = { kind, n, pixels, channels, weight, c, masked ? mask : NULL }, .x = x,
			       .target = target, .dloss = dloss };
	struct output out = { n, NULL, loss, 2e-7, NULL };

	for (int i = 0; i < n; i++)
		c[i] = fabsf(c[i]) + 0.01f;
	target[0] = x[0];               /* no slope where nothing is wrong */
	for (size_t i = 0; i < all; i++)
		loss[i / each] += formula(kind, (double)x[i] - target[i],
					  c[i / each]) * (masked ? mask[i / channels] : 1) *
				  weight[i / each] / each;
	every_way(&out, 1, run_loss, &a);
	for (a.add = 0; a.add < 2; a.add++) {
		for (size_t i = 0; i < all; i++)
			dx[i] = derivative(kind, (double)x[i] - target[i],
					   c[i / each]) * (masked ? mask[i / channels] : 1) *
				weight[i / each] * dloss[i / each] / each + (a.add ? before[i] : 0);
		out = (struct output){ all, a.add ? before : NULL, dx, 3e-7, NULL };
		every_way(&out, 1, run_loss_back, &a);
	}
	x[all - 1] = NAN;
	loss[n - 1] = NAN;
	out = (struct output){ n, NULL, loss, 2e-7, NULL };
	every_way(&out, 1, run_loss, &a);
	free(loss);
	free(dx);
	for (size_t i = 0; i < 7; i++)
		guarded_free((float *[]){ x, target, weight, dloss, before, c, mask }[i]);
}

static void losses_agree_with_double(void **state)
{
	static const struct { int n, pixels, channels; } shapes[] = { { 1, 1, 1 }, { 3, 5, 4 }, { 2, 1500, 4 } };

	for (size_t t = 0; t < sizeof(shapes) / sizeof(*shapes); t++)
		for (enum loss_kind kind = LOSS_L2; kind <= LOSS_SMOOTH_L1; kind++)
			for (int masked = 0; masked < 2; masked++)
				check_loss(kind, masked, shapes[t].n, shapes[t].pixels, shapes[t].channels);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(losses_agree_with_double) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
