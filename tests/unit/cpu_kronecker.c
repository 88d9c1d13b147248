/* Kronecker's product, forward and backward, against double precision. */
#include "cpu_reference.h"

/* One product of two floats and a scale: two roundings.  Sums are taken in double. */
#define TOLERANCE 2e-7

struct args { struct kronecker_shape s; const float *a, *b, *dy; int add[2]; };
static const float scale = 0.75f;

static void run_forward(struct device *d, struct output *out, const void *arg)
{
	const struct args *x = arg;

	cpu_backend.kronecker(d, out->data, scale, x->a, x->b, &x->s);
}

static void run_back(struct device *d, struct output *out, const void *arg)
{
	const struct args *x = arg;

	cpu_backend.kronecker_back(d, out[0].data, out[1].data, scale, x->dy, x->a, x->b, &x->s, x->add);
}

static void run_one_back(struct device *d, struct output *out, const void *arg)
{
	const struct args *x = arg;

	cpu_backend.kronecker_back(d, NULL, out[0].data, scale, x->dy, x->a, x->b, &x->s, x->add);
}

/* Where y holds a[P,Q] b[M,tap,N]. */
static size_t place(const struct kronecker_shape *s, int P, int M, int tap, int Q, int N)
{
	return (((size_t)P * s->m + M) * s->taps + tap) * s->q * s->n + (size_t)Q * s->n + N;
}

static void add_term(const struct args *x, int P, int Q, int M, int tap, int N, double *y, double *da, double *db)
{
	const struct kronecker_shape *s = &x->s;
	const size_t at = place(s, P, M, tap, Q, N), i = (size_t)P * s->q + Q,
		     k = ((size_t)M * s->taps + tap) * s->n + N;

	y[at] = (double)scale * x->a[i] * x->b[k];
	da[i] += (double)scale * x->dy[at] * x->b[k];
	db[k] += (double)scale * x->dy[at] * x->a[i];
}

static void expect(const struct args *x, double *y, double *da, double *db)
{
	const struct kronecker_shape *s = &x->s;

	for (int P = 0; P < s->p; P++)
		for (int Q = 0; Q < s->q; Q++)
			for (int M = 0; M < s->m; M++)
				for (int k = 0; k < s->taps * s->n; k++)
					add_term(x, P, Q, M, k / s->n, k % s->n, y, da, db);
}

static void one(const struct kronecker_shape *s, int add_a, int add_b)
{
	const size_t na = (size_t)s->p * s->q, nb = (size_t)s->m * s->taps * s->n, ny = na * nb;
	float *a = randoms(81, na), *b = randoms(82, nb), *dy = randoms(83, ny), *had_a = randoms(84, na),
	      *had_b = randoms(85, nb);
	const struct args x = { *s, a, b, dy, { add_a, add_b } };
	double *y = doubles(ny), *da = doubles(na), *db = doubles(nb);
	struct output out[2];

	for (size_t i = 0; i < na && add_a; i++)
		da[i] = had_a[i];
	for (size_t i = 0; i < nb && add_b; i++)
		db[i] = had_b[i];
	expect(&x, y, da, db);
	out[0] = (struct output){ ny, NULL, y, TOLERANCE };
	every_way(out, 1, run_forward, &x);
	out[0] = (struct output){ na, add_a ? had_a : NULL, da, TOLERANCE };
	out[1] = (struct output){ nb, add_b ? had_b : NULL, db, TOLERANCE };
	every_way(out, 2, run_back, &x);
	every_way(out + 1, 1, run_one_back, &x);
	free(y);
	free(da);
	free(db);
	guarded_free(a);
	guarded_free(b);
	guarded_free(dy);
	guarded_free(had_a);
	guarded_free(had_b);
}

static void kronecker(void **state)
{
	static const struct kronecker_shape shapes[] = {
		{ 1, 1, 1, 1, 1 },  { 2, 3, 4, 5, 1 },	   { 3, 2, 5, 4, 9 },
		{ 1, 1, 7, 70, 1 }, { 32, 16, 20, 24, 1 }, { 4, 4, 3, 130, 9 },
	};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
		one(&shapes[i], i % 2, i / 2 % 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(kronecker) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
