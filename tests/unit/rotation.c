/* Small rotations against written-out powers and equations, backward against finite differences. */
#include "cpu_reference.h"

/* Rows are sums of `size` products; matrices and their gradients are taken in double and rounded once or twice. */
#define TOLERANCE 1e-6
/* In double: a step of 1e-4 in a four-point formula leaves 1e-12 of rounding over 1e-4, and as much of truncation. */
#define SLOPE 1e-7

static const struct rotations cases[] = {
	{ 3, 4, false, false, 0, -1 },          /* LyCORIS, alpha 0 */
	{ 4, 5, false, false, 0, 100 },         /* a limit that is not reached */
	{ 4, 5, false, false, 0, 0.5f },        /* one that is */
	{ 2, 6, true, false, 5, -1 },           /* PEFT */
	{ 2, 6, true, true, 0, -1 },            /* PEFT without its series */
	{ 2, 3, true, false, 2, -1 }, { 2, 3, true, false, 3, -1 }, { 2, 3, true, false, 4, 0.3f },
	{ 5, 1, false, false, 0, -1 },          /* blocks that cannot turn */
	{ 1, 33, false, false, 0, 3 }, { 1, 33, true, false, 5, -1 },
};
enum { CASES = sizeof(cases) / sizeof(*cases) };

static float *numbers_of(const struct rotations *s, uint32_t seed)
{
	const size_t n = s->blocks * rotation_numbers(s);
	float *b = randoms(seed, n);

	for (size_t i = 0; i < n; i++)
		b[i] *= 0.4f;
	return b;
}

/* A of all blocks, by the formulas as they stand in the README of the reference values. */
static void skew_all(const struct rotations *s, const double *b, double *a)
{
	const int n = s->size;
	double squares = 0, factor;

	for (int k = 0; k < s->blocks; k++)
		for (int i = 0, at = 0; i < n; i++)
			for (int j = 0; j < n; j++) {
				double *to = a + (size_t)k * n * n;
				const double *own = b + k * rotation_numbers(s);

				if (!s->triangle)
					to[i * n + j] = own[i * n + j] - own[j * n + i];
				else if (j > i)
					to[i * n + j] = own[at], to[j * n + i] = -own[at], at++;
				else if (j == i)
					to[i * n + i] = 0;
			}
	for (size_t i = 0; i < rotation_elements(s); i++)
		squares += a[i] * a[i];
	factor = s->limit >= 0 && sqrt(squares) > s->limit ? s->limit / sqrt(squares) : 1;
	for (size_t i = 0; i < rotation_elements(s); i++)
		a[i] *= factor * (s->inverse ? -1 : 1);
}

/* R by its own equation, (I - A) R = I + A.  Solved with rows searched for pivots, unlike the library's. */
static void solve(double *m, double *r, int n)
{
	for (int p = 0; p < n; p++) {
		int best = p;

		for (int i = p; i < n; i++)
			if (fabs(m[i * n + p]) > fabs(m[best * n + p]))
				best = i;
		for (int j = 0; j < n; j++) {
			double x = m[p * n + j], y = r[p * n + j];
			m[p * n + j] = m[best * n + j], m[best * n + j] = x;
			r[p * n + j] = r[best * n + j], r[best * n + j] = y;
		}
		for (int i = 0; i < n; i++) {
			const double f = i == p ? 0 : m[i * n + p] / m[p * n + p];
			for (int j = 0; j < n; j++)
				m[i * n + j] -= f * m[p * n + j], r[i * n + j] -= f * r[p * n + j];
		}
	}
	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
			r[i * n + j] /= m[i * n + i];
}

static void powers(const double *a, double *r, int n, int terms)
{
	static const double by[6][5] = {
		[2] = { 1, 2 }, [3] = { 1, 2, 2, 1 }, [4] = { 1, 2, 2, 1 }, [5] = { 1, 2, 2, 2, 1 }
	};
	double *power = doubles(n * n), *next = doubles(n * n);

	for (int i = 0; i < n; i++)
		power[i * n + i] = 1;
	for (int t = 0; t < 5; t++) {
		for (int i = 0; i < n * n; i++)
			r[i] += by[terms][t] * power[i];
		for (int i = 0; i < n * n; i++) {
			next[i] = 0;
			for (int k = 0; k < n; k++)
				next[i] += power[i / n * n + k] * a[k * n + i % n];
		}
		memcpy(power, next, n * n * sizeof(*power));
	}
	free(power);
	free(next);
}

static void rotations_of(const struct rotations *s, const double *b, double *r)
{
	const int n = s->size;
	double *a = doubles(rotation_elements(s)), *m = doubles(n * n);

	skew_all(s, b, a);
	memset(r, 0, rotation_elements(s) * sizeof(*r));
	for (int k = 0; k < s->blocks; k++) {
		double *own = a + (size_t)k * n * n, *to = r + (size_t)k * n * n;

		for (int i = 0; i < n * n && !s->terms; i++) {
			m[i] = (i % (n + 1) == 0) - own[i];
			to[i] = (i % (n + 1) == 0) + own[i];
		}
		if (s->terms)
			powers(own, to, n, s->terms);
		else
			solve(m, to, n);
	}
	free(a);
	free(m);
}

/* y, and the sum of dy y */
static double turned(const struct rotations *s, const double *b, const float *x, const float *dy, int rows, double *y,
		     double *r)
{
	const int n = s->size, c = s->blocks * n;
	double sum = 0;

	rotations_of(s, b, r);
	for (int row = 0; row < rows; row++)
		for (int o = 0; o < c; o++) {
			const double *column = r + (size_t)(o / n) * n * n + o % n;
			double own = 0;

			for (int i = 0; i < n; i++)
				own += x[row * c + o / n * n + i] * column[i * n];
			y[row * c + o] = own;
			sum += own * dy[row * c + o];
		}
	return sum;
}

struct args { const struct rotations *s; const float *b, *x, *dy, *r; int rows, add[2]; float *room; };

static void run_forward(struct device *d, struct output *out, const void *arg)
{
	const struct args *x = arg;

	cpu_backend.rotate(d, f32(out[0].data), out[1].data, x->room, f32(x->x), x->b, x->rows, x->s);
}

static void run_alone(struct device *d, struct output *out, const void *arg)
{
	const struct args *x = arg;

	cpu_backend.rotate(d, f32(NULL), out[0].data, x->room, f32(NULL), x->b, x->rows, x->s);
}

static void run_back(struct device *d, struct output *out, const void *arg)
{
	const struct args *x = arg;

	cpu_backend.rotate_back(d, f32(out[0].data), out[1].data, x->room, f32(x->dy), f32(x->x), x->b, x->r, x->rows,
				x->s, x->add);
}

static double slope(const struct args *a, double *b, size_t i, double *y, double *r)
{
	static const double at[] = { -2, -1, 1, 2 }, by[] = { 1, -8, 8, -1 };
	const double step = 1e-3, here = b[i];
	double sum = 0;

	for (int k = 0; k < 4; k++) {
		b[i] = here + at[k] * step;
		sum += by[k] * turned(a->s, b, a->x, a->dy, a->rows, y, r);
	}
	b[i] = here;
	return sum / (12 * step);
}

/* dx = dy R^T, and db by differences */
static void expect_back(const struct args *a, double *b, double *dx, double *db, const float *had_x, const float *had_b)
{
	const struct rotations *s = a->s;
	const int n = s->size, c = s->blocks * n;
	double *y = doubles((size_t)a->rows * c), *r = doubles(rotation_elements(s));

	for (size_t i = 0; i < s->blocks * rotation_numbers(s); i++)
		db[i] = slope(a, b, i, y, r) + (a->add[1] ? had_b[i] : 0);
	rotations_of(s, b, r);
	for (int i = 0; i < a->rows * c; i++) {
		dx[i] = a->add[0] ? had_x[i] : 0;
		for (int j = 0; j < n; j++)
			dx[i] += a->dy[i / c * c + i % c / n * n + j] * r[((size_t)(i % c / n) * n + i % n) * n + j];
	}
	free(y);
	free(r);
}

static void one(const struct rotations *s, int rows, int add_x, int add_b)
{
	const size_t c = s->blocks * s->size, count = rows * c, numbers = s->blocks * rotation_numbers(s),
		     nr = rotation_elements(s);
	float *b = numbers_of(s, 91), *x = randoms(92, count), *dy = randoms(93, count), *had_x = randoms(94, count),
	      *had_b = randoms(95, numbers + 1);
	float *r = guarded(nr), *room = guarded(rotation_room(s));
	struct args a = { s, b, x, dy, r, rows, { add_x, add_b }, room };
	double *exact = doubles(numbers + 1), *y = doubles(count), *want_r = doubles(nr), *dx = doubles(count),
	       *db = doubles(numbers + 1);
	struct output out[2];

	for (size_t i = 0; i < numbers; i++)
		exact[i] = b[i];
	turned(s, exact, x, dy, rows, y, want_r);
	out[0] = (struct output){ count, NULL, y, TOLERANCE };
	out[1] = (struct output){ nr, NULL, want_r, TOLERANCE };
	every_way(out, 2, run_forward, &a);
	every_way(out + 1, 1, run_alone, &a);
	for (size_t i = 0; i < nr; i++)
		r[i] = want_r[i];
	expect_back(&a, exact, dx, db, had_x, had_b);
	out[0] = (struct output){ count, add_x ? had_x : NULL, dx, TOLERANCE };
	out[1] = (struct output){ numbers, add_b ? had_b : NULL, db, TOLERANCE + SLOPE };
	every_way(out, 2, run_back, &a);
	assert_guards(room, rotation_room(s));
	free(exact); free(y); free(want_r); free(dx); free(db);
	guarded_free(b);
	guarded_free(x);
	guarded_free(dy);
	guarded_free(had_x);
	guarded_free(had_b);
	guarded_free(r);
	guarded_free(room);
}

static void small_rotations(void **state)
{
	for (int i = 0; i < CASES; i++)
		one(&cases[i], cases[i].size > 30 ? 5 : 11, i % 2, i / 2 % 2);
}

/* Lengths stay; a limit of 0 is the identity. */
static void what_they_are(void **state)
{
	for (int i = 0; i < CASES; i++) {
		const struct rotations *s = &cases[i];
		const int n = s->size;
		float *b = numbers_of(s, 96);
		double *a = doubles(6 * n * n), *r = a + n * n, *turned = a + 3 * n * n;

		rotation_skew(s, a, b, rotation_limit(s, b).factor, 0);
		rotation_matrix(s, r, a, r + n * n);
		for (int k = 0; k < n * n; k++)
			turned[k] = r[k % n * n + k / n];
		square_product(a, turned, r, n, 1, false);
		for (int k = 0; k < n * n && !s->terms; k++)
			assert_true(fabs(a[k] - (k % (n + 1) == 0)) < 1e-13);
		guarded_free(b);
		free(a);
	}
	assert_true(rotation_limit(&(struct rotations){ 1, 2, true, false, 0, 0 }, (float[]){ 0.5f }).factor == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(small_rotations), cmocka_unit_test(what_they_are) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
