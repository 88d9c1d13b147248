/* The CPU's dropout: which elements, and the same with any number of threads. */
#include "cpu_reference.h"

struct dropout_args { const struct random *r; double p; int n, rows, c; bool shared; const float *x; };

static void run_dropout(struct device *d, struct output *out, const void *arg)
{
	const struct dropout_args *a = arg;

	cpu_backend.dropout(d, out->data, a->r, a->p, a->n, a->rows, a->c, a->shared);
}

/* Straight from the contract: word i mod 4 of block i / 4. */
static bool gone(const struct random *r, double p, size_t i)
{
	uint32_t word[4];

	philox(r, i / 4, word);
	return word[i % 4] < p * 0x1p32;
}

/* One rounding of a product: 1.2e-7. */
static void dropout_is_a_function_of_the_draw(void **state)
{
	static const struct { int n, rows, c; bool shared; double p; } cases[] = {
		{ 1, 1, 1, false, 0.5 }, { 2, 7, 5, false, 0.3 }, { 3, 11, 6, true, 0.4 }, { 2, 300, 16, false, 0.1 },
		{ 2, 5, 3, true, 0 },
	};

	for (size_t t = 0; t < sizeof(cases) / sizeof(*cases); t++) {
		const int n = cases[t].n, rows = cases[t].rows, c = cases[t].c;
		const size_t all = (size_t)n * rows * c;
		const struct random r = { 5, RANDOM_TEST, 9, t };
		float *x = randoms(91, all);
		double *expect = doubles(all), left = 0;
		struct dropout_args a = { &r, cases[t].p, n, rows, c, cases[t].shared, x };
		struct output out = { all, x, expect, 1.3e-7, NULL };

		for (size_t i = 0; i < all; i++) {
			const size_t at = cases[t].shared ? i / c / rows * c + i % c : i;
			expect[i] = gone(&r, cases[t].p, at) ? 0 : x[i] / (1 - cases[t].p);
			left += expect[i] != 0;
		}
		every_way(&out, 1, run_dropout, &a);
		if (all > 5000)         /* a binomial's spread is below 0.005 here */
			assert_true(fabs(left / all - (1 - cases[t].p)) < 0.02);
		free(expect);
		guarded_free(x);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(dropout_is_a_function_of_the_draw) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
