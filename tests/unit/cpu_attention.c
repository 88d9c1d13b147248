/* The CPU's attention against double precision. */
#include "cpu_reference.h"

/* Scores are sums of d products, exponents are right to an ulp or two, and o is an average: a few times 1e-7 of the
 * greatest value; gradients subtract two such sums (dp - delta). */
enum { OUT_TOLERANCE = 2, GRAD_TOLERANCE = 8 };         /* 1e-6 each */

struct attention_case { int n, heads, d, lq, lk, spare; bool causal; };

static const struct attention_case cases[] = {
	{ 1, 1, 1, 1, 1, 0, false }, { 2, 3, 8, 5, 7, 3, false }, { 1, 2, 40, 97, 129, 1, false },
		{ 1, 2, 64, 77, 77, 0, true },
	{ 2, 1, 16, 260, 260, 2, true }, { 1, 1, 512, 20, 300, 0, false }, { 1, 5, 24, 200, 3, 5, false },
	/* More threads than heads, some blocks of keys and some of queries. */
	{ 1, 1, 8, 400, 700, 0, false }, { 1, 3, 8, 300, 513, 1, false },
	/* A whole number of blocks of keys. */
	{ 1, 2, 16, 100, 256, 0, false }, { 1, 1, 8, 512, 512, 1, true }, { 1, 1, 8, 97, 512, 0, false },
	/* Wider than any stretch that a panel is packed by, and no whole number of vectors. */
	{ 1, 2, 517, 3, 5, 1, false }, { 1, 1, 1031, 7, 19, 0, true }, { 2, 1, 2049, 2, 1, 3, false },
};

struct attention_args {
	struct attention_shape s;
	float *q, *k, *v, *dout, *o, *lse;
	int add[3], skip;
};

/* Elements of row r of a tensor with leading dimension ld, that head h owns. */
static size_t at(int n, int l, int ld, int r, int h, int d) { return ((size_t)n * l + r) * ld + (size_t)h * d; }

/* In double; a probability matrix p [lk] for one query. */
static double probabilities(double *p, const struct attention_args *a, const double *q, const double *k, int n, int h,
			    int i)
{
	const struct attention_shape *s = &a->s;
	const int seen = s->causal ? i + 1 : s->lk;
	double most = -INFINITY, sum = 0;

	for (int j = 0; j < s->lk; j++) {
		p[j] = 0;
		for (int c = 0; c < s->d; c++)
			p[j] += q[at(n, s->lq, s->ldq, i, h, s->d) + c] * k[at(n, s->lk, s->ldk, j, h, s->d) + c];
		p[j] *= s->scale;
		most = j < seen && p[j] > most ? p[j] : most;
	}
	for (int j = 0; j < s->lk; j++) {
		p[j] = j < seen ? exp(p[j] - most) : 0;
		sum += p[j];
	}
	for (int j = 0; j < s->lk; j++)
		p[j] /= sum;
	return most + log(sum);
}

static void forward(double *o, double *lse, const struct attention_args *a, const double *q, const double *k,
		    const double *v)
{
	const struct attention_shape *s = &a->s;
	double *p = doubles(s->lk);

	for (int t = 0; t < s->n * s->heads * s->lq; t++) {
		const int n = t / s->lq / s->heads, h = t / s->lq % s->heads, i = t % s->lq;

		lse[t] = probabilities(p, a, q, k, n, h, i);
		for (int c = 0; c < s->d; c++) {
			double *to = &o[at(n, s->lq, s->ldo, i, h, s->d) + c];

			*to = 0;
			for (int j = 0; j < s->lk; j++)
				*to += p[j] * v[at(n, s->lk, s->ldv, j, h, s->d) + c];
		}
	}
	free(p);
}

/* dq, dk, dv are added to. */
static void backward(double *dq, double *dk, double *dv, const struct attention_args *a, const double *q,
		     const double *k, const double *v, const double *dout)
{
	const struct attention_shape *s = &a->s;
	double *p = doubles(s->lk), *dp = doubles(s->lk);

	for (int t = 0; t < s->n * s->heads * s->lq; t++) {
		const int n = t / s->lq / s->heads, h = t / s->lq % s->heads, i = t % s->lq;
		const size_t iq = at(n, s->lq, s->ldq, i, h, s->d), io = at(n, s->lq, s->ldo, i, h, s->d);
		double mean = 0;

		probabilities(p, a, q, k, n, h, i);
		for (int j = 0; j < s->lk; j++) {
			dp[j] = 0;
			for (int c = 0; c < s->d; c++)
				dp[j] += dout[io + c] * v[at(n, s->lk, s->ldv, j, h, s->d) + c];
			mean += p[j] * dp[j];
		}
		for (int j = 0; j < s->lk; j++) {
			const size_t ik = at(n, s->lk, s->ldk, j, h, s->d), iv = at(n, s->lk, s->ldv, j, h, s->d);
			double ds = p[j] * (dp[j] - mean) * s->scale;

			for (int c = 0; c < s->d; c++) {
				dq[iq + c] += ds * k[ik + c];
				dk[ik + c] += ds * q[iq + c];
				dv[iv + c] += p[j] * dout[io + c];
			}
		}
	}
	free(p);
	free(dp);
}

static double *widened(const float *x, size_t n)
{
	double *y = doubles(n);

	for (size_t i = 0; i < n; i++)
		y[i] = x[i];
	return y;
}

static float *narrowed(const double *x, size_t n)
{
	float *y = guarded(n);

	for (size_t i = 0; i < n; i++)
		y[i] = x[i];
	return y;
}

static size_t count_q(const struct attention_shape *s) { return (size_t)s->n * s->lq * s->ldq; }
static size_t count_k(const struct attention_shape *s) { return (size_t)s->n * s->lk * s->ldk; }
static size_t count_v(const struct attention_shape *s) { return (size_t)s->n * s->lk * s->ldv; }
static size_t count_o(const struct attention_shape *s) { return (size_t)s->n * s->lq * s->ldo; }

static struct attention_args arguments(const struct attention_case *c)
{
	const int width = c->heads * c->d;
	struct attention_args a = { .s = { .n = c->n, .heads = c->heads, .d = c->d, .lq = c->lq, .lk = c->lk,
					   .ldq = width + c->spare, .ldk = width + 2 * c->spare,
					   .ldv = width + 3 * c->spare, .ldo = width + 4 * c->spare,
					   .causal = c->causal, .scale = 2 / sqrtf(c->d) } };

	a.q = randoms(21, count_q(&a.s));
	a.k = randoms(22, count_k(&a.s));
	a.v = randoms(23, count_v(&a.s));
	a.dout = randoms(24, count_o(&a.s));
	return a;
}

static void arguments_free(struct attention_args *a)
{
	guarded_free(a->q);
	guarded_free(a->k);
	guarded_free(a->v);
	guarded_free(a->dout);
}

static void run_forward(struct device *d, struct output *out, const void *arg)
{
	const struct attention_args *a = arg;

	cpu_backend.attention(d, f32(out[0].data), out[1].data, f32(a->q), f32(a->k), f32(a->v), &a->s);
}

static void run_backward(struct device *d, struct output *out, const void *arg)
{
	const struct attention_args *a = arg;
	float *to[3] = { out[0].data, out[1].data, out[2].data };

	if (a->skip)
		to[a->skip - 1] = NULL;
	cpu_backend.attention_back(d, f32(to[0]), f32(to[1]), f32(to[2]), f32(a->dout), f32(a->o), a->lse, f32(a->q),
				   f32(a->k), f32(a->v), &a->s, a->add);
}

/* What no head owns stays as it was. */
static void keep_between(double *expect, const float *before, size_t n, int ld, int width)
{
	for (size_t i = 0; i < n; i++)
		if ((int)(i % ld) >= width)
			expect[i] = before[i];
}

static void check(const struct attention_case *c)
{
	struct attention_args a = arguments(c);
	const struct attention_shape *s = &a.s;
	const size_t no = count_o(s), nl = (size_t)s->n * s->heads * s->lq,
		n[3] = { count_q(s), count_k(s), count_v(s) };
	const int width = c->heads * c->d, ld[3] = { s->ldq, s->ldk, s->ldv };
	double *q = widened(a.q, n[0]), *k = widened(a.k, n[1]), *v = widened(a.v, n[2]), *dout = widened(a.dout, no);
	double *o = doubles(no), *lse = doubles(nl);
	float *before_o = randoms(25, no), *before[3];
	struct output out[3] = { { no, before_o, o, OUT_TOLERANCE * 1e-6, NULL },
				 { nl, NULL, lse, OUT_TOLERANCE * 1e-6, NULL } };

	forward(o, lse, &a, q, k, v);
	keep_between(o, before_o, no, s->ldo, width);
	every_way(out, 2, run_forward, &a);
	a.o = narrowed(o, no);
	a.lse = narrowed(lse, nl);
	for (a.skip = 0; a.skip <= 3; a.skip++) {
		for (int i = 0; i < 3; i++) {
			a.add[i] = (a.skip + i) % 2;
			before[i] = randoms(26 + i, n[i]);
			out[i] = (struct output){ n[i], before[i], doubles(n[i]), GRAD_TOLERANCE * 1e-6, NULL };
			for (size_t e = 0; a.add[i] && e < n[i]; e++)
				out[i].expect[e] = before[i][e];
		}
		backward(out[0].expect, out[1].expect, out[2].expect, &a, q, k, v, dout);
		for (int i = 0; i < 3; i++) {
			keep_between(out[i].expect, before[i], n[i], ld[i], a.skip == i + 1 ? 0 : width);
			for (size_t e = 0; !a.add[i] && a.skip != i + 1 && e < n[i]; e++)
				if ((int)(e % ld[i]) < width)
					before[i][e] = NAN;
		}
		every_way(out, 3, run_backward, &a);
		for (int i = 0; i < 3; i++) {
			guarded_free(before[i]);
			free(out[i].expect);
		}
	}
	free(q); free(k); free(v); free(dout); free(o); free(lse);
	guarded_free(before_o);
	guarded_free(a.o);
	guarded_free(a.lse);
	arguments_free(&a);
}

static void attention_agrees_with_double(void **state)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		check(&cases[i]);
}

static double weighted(const double *o, const double *dout, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += o[i] * dout[i];
	return sum;
}

/* The double backward above against differences of the double forward. */
static void reference_gradient_is_the_slope(void **state)
{
	for (int causal = 0; causal < 2; causal++) {
		const struct attention_case c = { 1, 2, 3, 5, 5, 0, causal };
		struct attention_args a = arguments(&c);
		const size_t n = count_q(&a.s), nl = (size_t)a.s.heads * a.s.lq;
		double *x[3] = { widened(a.q, n), widened(a.k, n), widened(a.v, n) }, *dout = widened(a.dout, n);
		double *o = doubles(n), *lse = doubles(nl), *grad[3] = { doubles(n), doubles(n), doubles(n) };

		backward(grad[0], grad[1], grad[2], &a, x[0], x[1], x[2], dout);
		for (int i = 0; i < 3; i++)
			for (size_t e = 0; e < n; e++) {
				const double step = 1e-5, old = x[i][e];
				double up, down;

				x[i][e] = old + step;
				forward(o, lse, &a, x[0], x[1], x[2]);
				up = weighted(o, dout, n);
				x[i][e] = old - step;
				forward(o, lse, &a, x[0], x[1], x[2]);
				down = weighted(o, dout, n);
				x[i][e] = old;
				/* The third derivative is of order 1: the quotient errs by about step^2. */
				assert_true(fabs((up - down) / (2 * step) - grad[i][e]) < 1e-8);
			}
		for (int i = 0; i < 3; i++) {
			free(x[i]);
			free(grad[i]);
		}
		free(dout); free(o); free(lse);
		arguments_free(&a);
	}
}

/* A NaN in one key reaches every query that sees it and no other head; scores of 1000 do not overflow. */
static void nan_and_great_scores(void **state)
{
	const struct attention_case c = { 1, 2, 8, 200, 300, 0, false };
	struct attention_args a = arguments(&c);
	struct error e;
	struct device *d = cpu_backend.open(&e);
	float *o = guarded(count_o(&a.s)), *lse = guarded((size_t)2 * a.s.lq);

	for (size_t i = 0; i < count_q(&a.s); i++)
		a.q[i] *= 1000;
	cpu_backend.attention(d, f32(o), lse, f32(a.q), f32(a.k), f32(a.v), &a.s);
	for (size_t i = 0; i < count_o(&a.s); i++)
		assert_true(fabs(o[i]) <= 1.001);
	a.k[250 * 16 + 3] = NAN;
	cpu_backend.attention(d, f32(o), lse, f32(a.q), f32(a.k), f32(a.v), &a.s);
	for (size_t i = 0; i < count_o(&a.s); i++)
		assert_int_equal(!!isnan(o[i]), i % 16 < 8);
	assert_true(isnan(lse[0]) && !isnan(lse[a.s.lq]));
	cpu_backend.close(d);
	guarded_free(o);
	guarded_free(lse);
	arguments_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attention_agrees_with_double), cmocka_unit_test(reference_gradient_is_the_slope),
		cmocka_unit_test(nan_and_great_scores),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
