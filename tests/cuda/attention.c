/*
 * attention - k_attention and k_attention_back against double precision and against the CPU backend.
 *
 * Tolerance.  Operands are rounded to 11 bits before they are multiplied: off by 2^-11 of themselves at most, evenly
 * spread, so each has a variance of (2^-11 x)^2 / 3 at most.  The reference carries these variances through its sums,
 * and a result is off by z = error over the square root of what it gets.  Errors of many roundings are normal: none may
 * reach |z| = 8.  Over a thousand results and more, the root mean square of z is 0.74 a rounding where mantissas are
 * spread evenly, 1.25 at most; an operand that is cut off instead of rounded, or rounded twice as coarsely, doubles it.
 * Sums in float come beside that as FLOAT_STEP for each of their steps.  A card's exponential is 0 where it would be
 * below NORMAL.
 */
#include "harness.h"

enum { Q, K, V, DOUT, INPUTS, O = INPUTS, LSE, FORWARD_END, DQ = FORWARD_END, DK, DV, OUTPUTS_END };
#define FLOAT_STEP ldexp(1, -23)
#define NORMAL ldexp(1, -126)
#define HALF_STEP ldexp(1, -24)
enum { HALF_WIDTH = 160 };

struct testcase {
	const char *name;
	int n, heads, d, lq, lk, spare;         /* spare: columns that no head owns */
	bool causal, packed;                    /* packed: q, k and v lie in rows three times as long */
	/* q and k are small integers, which nothing rounds; scores are in the thousands */
	bool exact;
	bool apart;                             /* gradients of even heads are tiny, those of odd ones huge */
};

/* Values with the variance of their error. */
struct uncertain { double *x, *var; size_t n; };

static void say(struct rig *r, bool ok, const struct testcase *c, const char *what, double rms, double limit)
{
	char *name = xprintf("%s: %s", c->name, what);

	verdict(r, ok, name, rms, limit);
	free(name);
}

/* ---- memory of the card, between guards ---- */

static void must(cudaError_t status)
{
	if (status != cudaSuccess)
		die(EXIT_OTHER, "attention: %s", cudaGetErrorString(status));
}

static float *to_card(const float *host, size_t n)
{
	uint32_t *with = xmalloc((n + 2 * GUARD) * sizeof(*with));
	float *p;
	size_t i;

	for (i = 0; i < n + 2 * GUARD; i++)
		with[i] = GUARD_BITS;
	memcpy(with + GUARD, host, n * sizeof(*host));
	must(cudaMalloc((void **)&p, (n + 2 * GUARD) * sizeof(*p)));
	must(cudaMemcpy(p, with, (n + 2 * GUARD) * sizeof(*p), cudaMemcpyHostToDevice));
	free(with);
	return p + GUARD;
}

/* To the host, and the guards must be whole. */
static bool fetch(float *host, const float *p, size_t n)
{
	uint32_t *with = xmalloc((n + 2 * GUARD) * sizeof(*with));
	bool whole = true;
	size_t i;

	must(cudaMemcpy(with, p - GUARD, (n + 2 * GUARD) * sizeof(*with), cudaMemcpyDeviceToHost));
	memcpy(host, with + GUARD, n * sizeof(*host));
	for (i = 0; i < GUARD; i++)
		whole = whole && with[i] == GUARD_BITS && with[n + GUARD + i] == GUARD_BITS;
	free(with);
	return whole;
}

static void free_card(float *p)
{
	if (p)
		must(cudaFree(p - GUARD));
}

/* ---- the reference ---- */

struct problem {
	const struct testcase *c;
	struct attention_shape s;
	size_t size[OUTPUTS_END];
	float *in[INPUTS];
	struct uncertain out[OUTPUTS_END];
};

/* One head: element [row][column] of input or output i is at base[i] + row * ld[i] + column. */
struct head { size_t base[OUTPUTS_END]; int ld[OUTPUTS_END]; };

static struct head head_of(const struct problem *p, int n, int h)
{
	const struct attention_shape *s = &p->s;
	const int ld[] = { s->ldq, s->ldk, s->ldv, s->ldo, s->ldo, 1, s->ldq, s->ldk, s->ldv };
	struct head a;
	int i;

	for (i = 0; i < OUTPUTS_END; i++) {
		a.ld[i] = ld[i];
		a.base[i] = (size_t)n * (i == K || i == V || i == DK || i == DV ? s->lk : s->lq) * ld[i]
			+ (size_t)h * s->d;
	}
	a.base[LSE] = ((size_t)n * s->heads + h) * s->lq;
	return a;
}

static double square(double x) { return x * x; }

/* The sum of a[i] b[i], and its variance when var is that of each factor's rounding; steps in float beside it. */
static double product(double *error, const float *a, const float *b, int n, double var)
{
	double sum = 0, squares = 0, size = 0;
	int i;

	for (i = 0; i < n; i++) {
		sum += (double)a[i] * b[i];
		squares += square((double)a[i] * b[i]);
		size += fabs((double)a[i] * b[i]);
	}
	*error = 2 * var * squares + square((n / 4 + 2) * FLOAT_STEP * size);
	return sum;
}

/* Where a query's scores, their exponents and gradients are, a value a key; and the variances of what is lost of
 * exponents and gradients near 0. */
struct line { double *p, *p_var, *ds, *ds_var, p_lost, ds_lost; };

/* p = softmax(scale q k^T) of query i, with the variance of the scores.  var: of a rounding. */
static void line_of(const struct problem *a, const struct head *h, const struct line *l, int i, double var, double *lse,
		    double *lse_var)
{
	const struct attention_shape *s = &a->s;
	const float *q = a->in[Q] + h->base[Q] + (size_t)i * h->ld[Q], *k = a->in[K] + h->base[K];
	const int seen = s->causal ? i + 1 : s->lk, ld = h->ld[K];
	double most = -INFINITY, sum = 0;
	int j, c;

	for (j = 0; j < seen; j++) {
		l->p[j] = s->scale * product(&l->p_var[j], q, k + (size_t)j * ld, s->d, var);
		l->p_var[j] = square(s->scale) * l->p_var[j] + square(2 * FLOAT_STEP * (fabs(l->p[j]) + 1));
		most = l->p[j] > most ? l->p[j] : most;
	}
	for (j = 0; j < seen; j++)
		sum += l->p[j] = exp(l->p[j] - most);
	*lse = most + log(sum);
	*lse_var = square(4 * FLOAT_STEP * (fabs(*lse) + 1));
	for (j = 0; j < s->lk; j++) {
		l->p[j] = j < seen ? l->p[j] / sum : 0;
		*lse_var += j < seen ? square(l->p[j]) * l->p_var[j] : 0;
	}
	for (c = 0; c < s->d; c++) {    /* a query's rounding is the same against every key */
		double mean = 0;

		for (j = 0; j < seen; j++)
			mean += l->p[j] * k[(size_t)j * ld + c];
		*lse_var += var * square(s->scale * q[c] * mean);
	}
}

static void add_to(const struct uncertain *u, size_t at, double x, double var)
{
	u->x[at] += x;
	u->var[at] += var;
}

static void forward_line(const struct problem *a, const struct head *h, const struct line *l, int i, double var)
{
	const int seen = a->s.causal ? i + 1 : a->s.lk;
	int j, c;

	for (c = 0; c < a->s.d; c++) {
		double o = 0, error = 0, size = 0;

		for (j = 0; j < seen; j++)
			o += l->p[j] * a->in[V][h->base[V] + (size_t)j * h->ld[V] + c];
		for (j = 0; j < seen; j++) {
			const double v = a->in[V][h->base[V] + (size_t)j * h->ld[V] + c];

			error += square(l->p[j]) * (l->p_var[j] * square(v - o) + 2 * var * square(v));
			size += l->p[j] * fabs(v);
		}
		add_to(&a->out[O], h->base[O] + (size_t)i * h->ld[O] + c, o,
		       error + square((seen / 4 + 8) * FLOAT_STEP * size));
	}
}

static void backward_line(const struct problem *a, const struct head *h, const struct line *l, int i, double var)
{
	const struct attention_shape *s = &a->s;
	const float *dout = a->in[DOUT] + h->base[DOUT] + (size_t)i * h->ld[DOUT],
		*q = a->in[Q] + h->base[Q] + (size_t)i * h->ld[Q];
	const int seen = s->causal ? i + 1 : s->lk;
	double mean = 0, size = 0;
	int j, c;

	for (j = 0; j < seen; j++) {
		l->ds[j] = product(&l->ds_var[j], dout, a->in[V] + h->base[V] + (size_t)j * h->ld[V], s->d, var);
		mean += l->p[j] * l->ds[j];
		size += l->p[j] * fabs(l->ds[j]);
	}
	for (j = 0; j < seen; j++) {
		const double p = l->p[j], ds = p * (l->ds[j] - mean);
		const size_t k = h->base[K] + (size_t)j * h->ld[K], v = h->base[DV] + (size_t)j * h->ld[DV];
		const double error = square(p) * (square(l->ds[j] - mean) * l->p_var[j] + l->ds_var[j] +
						  square((s->d + 8) * FLOAT_STEP * size)) + 2 * var * square(ds) +
				     l->p_lost * square(l->ds[j] - mean) + l->ds_lost;
		const double steps = square((s->lq + s->lk) / 4 * FLOAT_STEP);

		for (c = 0; c < s->d; c++) {
			add_to(&a->out[DQ], h->base[DQ] + (size_t)i * h->ld[DQ] + c, s->scale * ds * a->in[K][k + c],
			       square(s->scale * a->in[K][k + c]) * (error + steps * square(ds)));
			add_to(&a->out[DK], k + c, s->scale * ds * q[c],
			       square(s->scale * q[c]) * (error + steps * square(ds)));
			add_to(&a->out[DV], v + c, p * dout[c],
			       square(dout[c]) * (square(p) * (l->p_var[j] + 2 * var + steps) + l->p_lost));
		}
	}
}

static double *zeros(size_t n)
{
	return xcalloc(n, sizeof(double));
}

static double largest_gradient(const struct problem *a, const struct head *h)
{
	double most = 0;
	int i, c;

	for (i = 0; i < a->s.lq; i++)
		for (c = 0; c < a->s.d; c++)
			most = fmax(most, fabs(a->in[DOUT][h->base[DOUT] + (size_t)i * h->ld[DOUT] + c]));
	return most;
}

static void refer(const struct problem *a)
{
	const struct attention_shape *s = &a->s;
	struct line l = { zeros(s->lk), zeros(s->lk), zeros(s->lk), zeros(s->lk), square(NORMAL), 0 };
	const double var = ldexp(1, -22) / 3, scores_var = a->c->exact ? 0 : var;
	int t, i;

	for (t = 0; t < s->n * s->heads; t++) {
		const struct head h = head_of(a, t / s->heads, t % s->heads);

		if (s->d <= HALF_WIDTH) {
			l.p_lost = square(HALF_STEP) / 12;
			l.ds_lost = square(HALF_STEP * largest_gradient(a, &h) / 4) / 12;
		}
		for (i = 0; i < s->lq; i++) {
			line_of(a, &h, &l, i, scores_var, &a->out[LSE].x[h.base[LSE] + i],
				&a->out[LSE].var[h.base[LSE] + i]);
			forward_line(a, &h, &l, i, var);
			backward_line(a, &h, &l, i, var);
		}
	}
	free(l.p);
	free(l.p_var);
	free(l.ds);
	free(l.ds_var);
}

/* ---- a problem ---- */

static float *numbers(size_t n, int item, bool whole)
{
	float *x = xmalloc((n + 1) * sizeof(*x));
	size_t i;

	random_normal(&(struct random){ 5, RANDOM_TEST, 0, item }, x, n);
	for (i = 0; i < n && whole; i++)
		x[i] = rintf(x[i] * 4);
	return x;
}

static struct problem problem_of(const struct testcase *c)
{
	const int width = c->heads * c->d, ld = c->packed ? 3 * width : width;
	struct problem a = { .c = c, .s = { .n = c->n, .heads = c->heads, .d = c->d, .lq = c->lq, .lk = c->lk,
					    .causal = c->causal, .ldq = ld + c->spare, .ldk = ld + 2 * c->spare,
					    .ldv = ld + 3 * c->spare, .ldo = width + 4 * c->spare,
					    .scale = c->exact ? 1 : 1 / sqrtf(c->d) } };
	const size_t lq = (size_t)c->n * c->lq, lk = (size_t)c->n * c->lk;
	const size_t size[] = { lq * a.s.ldq, lk * a.s.ldk, lk * a.s.ldv, lq * a.s.ldo, lq * a.s.ldo, lq * c->heads,
				lq * a.s.ldq, lk * a.s.ldk, lk * a.s.ldv };
	size_t at;
	int i;

	memcpy(a.size, size, sizeof(size));
	for (i = 0; i < INPUTS; i++)
		a.in[i] = numbers(size[i], i, c->exact && i <= K);
	for (at = 0; at < size[DOUT] && c->apart; at++)
		a.in[DOUT][at] *= at % a.s.ldo / c->d % 2 ? 1 << 30 : 1 / (float)(1 << 30);
	for (i = INPUTS; i < OUTPUTS_END; i++)
		a.out[i] = (struct uncertain){ zeros(size[i]), zeros(size[i]), size[i] };
	refer(&a);
	return a;
}

static void problem_free(struct problem *a)
{
	int i;

	for (i = 0; i < INPUTS; i++)
		free(a->in[i]);
	for (i = INPUTS; i < OUTPUTS_END; i++) {
		free(a->out[i].x);
		free(a->out[i].var);
	}
}

static int columns_of(const struct problem *a, int i) { return i == LSE ? 1 : a->s.heads * a->s.d; }

/* What an output holds before: to be added to, or NaN where it is to be overwritten;
 * other columns must keep their values. */
static float *before(const struct problem *a, int i, bool add)
{
	float *x = numbers(a->size[i], 20 + i, false);
	const int ld = head_of(a, 0, 0).ld[i], columns = columns_of(a, i);
	size_t e;

	for (e = 0; e < a->size[i] && !add; e++)
		if ((int)(e % ld) < columns)
			x[e] = NAN;
	return x;
}

/* got must be the reference (+ was), and was where no head is. */
static void judge(struct rig *r, const struct problem *a, int i, const float *got, const float *was, bool add,
		  bool whole, const char *what)
{
	const int ld = head_of(a, 0, 0).ld[i], columns = columns_of(a, i);
	double most = 0, squares = 0, limit;
	size_t e, n = 0, kept = 0;

	for (e = 0; e < a->size[i]; e++) {
		double old = add ? was[e] : 0, z;

		if ((int)(e % ld) >= columns) {
			kept += !memcmp(&got[e], &was[e], sizeof(*got));
			continue;
		}
		z = fabs(got[e] - old - a->out[i].x[e]) / (sqrt(a->out[i].var[e]) + FLOAT_STEP * fabs(old) + 1e-38);
		if (!(z <= most))       /* NaN sticks */
			most = z;
		squares += z * z;
		n++;
	}
	squares = sqrt(squares / n);
	limit = n < 1000 ? 2 : 1.25;
	say(r, whole && most < 8 && squares < limit && n + kept == a->size[i], a->c, what, squares, limit);
}

/* ---- runs ---- */

/* The same launch gives the same bytes. */
static void again(struct rig *r, const struct problem *a, int i, const float *first, const float *p)
{
	float *second = xmalloc(a->size[i] * sizeof(*second));
	bool whole = fetch(second, p, a->size[i]);

	say(r, whole && !memcmp(first, second, a->size[i] * sizeof(*second)), a->c, "the same bytes", 0, 0);
	free(second);
}

static void run_forward(struct rig *r, const struct problem *a, float *const in[INPUTS])
{
	float *was = before(a, O, false), *was_lse = before(a, LSE, false), *o = to_card(was, a->size[O]),
		*lse = to_card(was_lse, a->size[LSE]);
	float *got = xmalloc(a->size[O] * sizeof(*got)), *got_lse = xmalloc(a->size[LSE] * sizeof(*got_lse));
	bool whole;

	must(k_attention(NULL, f32(o), lse, f32(in[Q]), f32(in[K]), f32(in[V]), &a->s));
	must(cudaDeviceSynchronize());
	whole = fetch(got, o, a->size[O]);
	judge(r, a, O, got, was, false, whole, "o");
	whole = fetch(got_lse, lse, a->size[LSE]);
	judge(r, a, LSE, got_lse, was_lse, false, whole, "lse");
	must(k_attention(NULL, f32(o), lse, f32(in[Q]), f32(in[K]), f32(in[V]), &a->s));
	must(cudaDeviceSynchronize());
	again(r, a, O, got, o);
	cpu_backend.attention(r->device[CPU], f32(was), was_lse, f32(a->in[Q]), f32(a->in[K]), f32(a->in[V]), &a->s);
	judge(r, a, O, was, got, false, true, "o, CPU");
	judge(r, a, LSE, was_lse, got_lse, false, true, "lse, CPU");
	free_card(o);
	free_card(lse);
	free(was); free(was_lse); free(got); free(got_lse);
}

static float *narrowed(const struct uncertain *u)
{
	float *x = xmalloc(u->n * sizeof(*x));
	size_t i;

	for (i = 0; i < u->n; i++)
		x[i] = u->x[i];
	return x;
}

/* wanted: bits of which gradients; add likewise. */
static void run_backward(struct rig *r, const struct problem *a, float *const in[INPUTS], int wanted, int adding)
{
	static const char *const names[] = { "dq", "dk", "dv" };
	const int add[] = { adding & 1, adding >> 1 & 1, adding >> 2 & 1 };
	float *host_o = narrowed(&a->out[O]), *host_lse = narrowed(&a->out[LSE]);
	float *o = to_card(host_o, a->size[O]), *lse = to_card(host_lse, a->size[LSE]);
	const size_t room = attention_back_scratch(&a->s);
	float *nothing = xmalloc(room * sizeof(*nothing)), *scratch, *was[3], *to[3];
	bool whole;
	size_t e;
	int i;

	for (e = 0; e < room; e++)
		nothing[e] = NAN;
	scratch = to_card(nothing, room);
	for (i = 0; i < 3; i++) {
		was[i] = before(a, DQ + i, add[i]);
		to[i] = wanted >> i & 1 ? to_card(was[i], a->size[DQ + i]) : NULL;
	}
	must(k_attention_back(NULL, f32(to[0]), f32(to[1]), f32(to[2]), f32(in[DOUT]), f32(o), lse, f32(in[Q]),
			      f32(in[K]), f32(in[V]), &a->s, add, scratch));
	must(cudaDeviceSynchronize());
	whole = fetch(nothing, scratch, room);
	for (i = 0; i < 3; i++) {
		float *got = xmalloc(a->size[DQ + i] * sizeof(*got));
		char *what = xprintf("%s%s of %s%s%s", names[i], add[i] ? ", added," : "", wanted & 1 ? "q" : "",
				     wanted & 2 ? "k" : "", wanted & 4 ? "v" : "");

		if (to[i]) {
			whole = fetch(got, to[i], a->size[DQ + i]) && whole;
			judge(r, a, DQ + i, got, was[i], add[i], whole, what);
		}
		free(got);
		free(what);
		free_card(to[i]);
		free(was[i]);
	}
	free_card(o);
	free_card(lse);
	free_card(scratch);
	free(host_o); free(host_lse); free(nothing);
}

static void run_case(struct rig *r, const struct testcase *c)
{
	struct problem a = problem_of(c);
	float *in[INPUTS];
	int i;

	for (i = 0; i < INPUTS; i++)
		in[i] = to_card(a.in[i], a.size[i]);
	run_forward(r, &a, in);
	run_backward(r, &a, in, 7, 0);
	if (c->spare)
		for (i = 1; i < 8; i++)
			run_backward(r, &a, in, i, i * 3 % 8);
	for (i = 0; i < INPUTS; i++)
		free_card(in[i]);
	problem_free(&a);
}

static const struct testcase cases[] = {
	{ "77 keys, spare columns", 1, 3, 64, 128, 77, 8 },
	{ "rows not aligned", 2, 3, 40, 33, 31, 1 },
	{ "any number of columns", 1, 2, 7, 33, 77, 3 },
	{ "CLIP", 2, 2, 64, 77, 77, 0, .causal = true, .packed = true },
	{ "causal, long", 1, 2, 32, 200, 200, 4, .causal = true },
	{ "causal, one", 2, 1, 8, 1, 1, 0, .causal = true },
	{ "causal, wide", 1, 1, 512, 77, 77, 0, .causal = true },
	{ "causal, 160", 1, 2, 160, 77, 77, 0, .causal = true, .packed = true },
	{ "packed", 2, 3, 64, 200, 200, 0, .packed = true },
	{ "queries in parts", 2, 1, 64, 600, 77, 4 },
	{ "queries in parts, rows not aligned", 1, 2, 40, 530, 31, 3 },
	{ "queries in parts, 160", 1, 1, 160, 300, 33, 0 },
	{ "queries in parts, causal", 1, 1, 24, 600, 600, 0, .causal = true },
	{ "blocks of 128 queries", 8, 16, 64, 129, 9, 0 },
	{ "blocks of 128 queries, causal", 16, 16, 64, 65, 65, 0, .causal = true },
	{ "gradients of 1e-9 and 1e9", 1, 2, 64, 77, 128, 0, .apart = true },
	{ "gradients of 1e-9 and 1e9, in parts", 1, 3, 40, 530, 31, 1, .apart = true },
	{ "gradients of 1e-9 and 1e9, 160", 1, 2, 160, 33, 77, 0, .apart = true },
	{ "scores of thousands", 1, 2, 64, 128, 200, 0, .exact = true },
	{ "scores of thousands, causal", 1, 2, 32, 77, 77, 0, .causal = true, .exact = true },
	{ "scores of thousands, wide", 1, 1, 512, 33, 77, 0, .exact = true },
};

static const struct testcase special[] = {
	{ "narrow", 1, 2, 8, 33, 200 }, { "d 64", 1, 2, 64, 77, 128 }, { "d 160", 1, 2, 160, 33, 77 },
	{ "wide", 1, 2, 512, 33, 77 },
};

enum { USUAL_WIDTH = 64, EVERY = 3, MOST = 4 << 20, QUICK_EVERY = 4, QUICK_MOST = 1 << 20, MANY = 8 };

/* Every length with every other, of SDXL's width; every third such pair, not always the same, of the other widths:
 * small ones alone of 512, whose backward takes the stand-in long. */
static void run_grid(struct rig *r)
{
	static const int lengths[] = { 1, 31, 33, 77, 128, 200 }, widths[] = { 8, 40, 64, 80, 128, 160, 512 };
	const int n = sizeof(lengths) / sizeof(*lengths), every = quick() ? QUICK_EVERY : EVERY,
		most = quick() ? QUICK_MOST : MOST;
	int i, j, k;

	for (i = 0; i < (int)(sizeof(widths) / sizeof(*widths)); i++)
		for (j = 0; j < n; j++)
			for (k = 0; k < n; k++) {
				char *name = xprintf("%d x %d, d %d", lengths[j], lengths[k], widths[i]);
				const struct testcase c = { name, (j + k) % 2 + 1, (i + j + k) % 2 + 1, widths[i],
							    lengths[j], lengths[k] };

				if ((widths[i] == USUAL_WIDTH && !quick()) ||
				    ((i + j + k) % every == 0 && lengths[j] * lengths[k] * widths[i] < most))
					run_case(r, &c);
				free(name);
			}
}

/* ---- what no formula says ---- */

/* o and lse of inputs as they are now */
static void outputs(const struct problem *a, float *o, float *lse)
{
	float *in[INPUTS], *was = before(a, O, false), *to = to_card(was, a->size[O]),
		*to_lse = to_card(a->in[Q], a->size[LSE]);
	int i;

	for (i = 0; i < INPUTS; i++)
		in[i] = to_card(a->in[i], a->size[i]);
	must(k_attention(NULL, f32(to), to_lse, f32(in[Q]), f32(in[K]), f32(in[V]), &a->s));
	must(cudaDeviceSynchronize());
	fetch(o, to, a->size[O]);
	fetch(lse, to_lse, a->size[LSE]);
	for (i = 0; i < INPUTS; i++)
		free_card(in[i]);
	free_card(to);
	free_card(to_lse);
	free(was);
}

/* A NaN in one key reaches every query of its head, and no other head. */
static void nan_stays(struct rig *r, const struct testcase *c)
{
	struct problem a = problem_of(c);
	float *o = xmalloc(a.size[O] * sizeof(*o)), *lse = xmalloc(a.size[LSE] * sizeof(*lse));
	bool ok = true;
	size_t e;

	a.in[K][(size_t)(c->lk - 1) * a.s.ldk + 3] = NAN;
	outputs(&a, o, lse);
	for (e = 0; e < a.size[O]; e++)
		ok = ok && !isnan(o[e]) == ((int)(e % a.s.ldo) >= c->d);
	for (e = 0; e < a.size[LSE]; e++)
		ok = ok && !isnan(lse[e]) == ((int)e >= c->lq);
	say(r, ok, c, "NaN in one key", 0, 0);
	free(o);
	free(lse);
	problem_free(&a);
}

/* The first keys have scores of -infinity: the others' softmax is what it would be without them. */
static void keys_at_minus_infinity(struct rig *r, const struct testcase *c)
{
	const int hidden = c->lk / 2;
	struct problem a = problem_of(c), b;
	struct testcase half = *c;
	float *o = xmalloc(a.size[O] * sizeof(*o)), *lse = xmalloc(a.size[LSE] * sizeof(*lse));
	size_t e;
	int j;

	half.lk -= hidden;
	b = problem_of(&half);
	for (e = 0; e < a.size[Q]; e++)
		a.in[Q][e] = fabsf(a.in[Q][e]) + 0.1f;
	memcpy(b.in[Q], a.in[Q], a.size[Q] * sizeof(float));
	for (j = 0; j < hidden; j++)
		for (e = 0; e < (size_t)a.s.ldk; e += c->d)
			a.in[K][j * a.s.ldk + e] = -INFINITY;
	memcpy(b.in[K], a.in[K] + hidden * a.s.ldk, b.size[K] * sizeof(float));
	memcpy(b.in[V], a.in[V] + hidden * a.s.ldv, b.size[V] * sizeof(float));
	for (j = O; j < OUTPUTS_END; j++) {
		memset(b.out[j].x, 0, b.size[j] * sizeof(double));
		memset(b.out[j].var, 0, b.size[j] * sizeof(double));
	}
	refer(&b);
	outputs(&a, o, lse);
	judge(r, &b, O, o, o, false, true, "o, half the keys at -infinity");
	judge(r, &b, LSE, lse, lse, false, true, "lse, half the keys at -infinity");
	free(o);
	free(lse);
	problem_free(&a);
	problem_free(&b);
}

/* Where the launchers must refuse, and nothing may run. */
static void refusals(struct rig *r)
{
	const struct attention_shape bad[] = {
		{ 1, 1, 513, 1, 1, 513, 513, 513, 513, false, 1 }, { 1, 1, 8, 1, 1, 8, 8, 8, 8, false, 0 },
		{ 1, 1, 8, 1, 1, 8, 8, 8, 8, false, NAN }, { 1, 1, 8, 2, 3, 8, 8, 8, 8, true, 1 },
	};
	const struct values none = f32(NULL);
	const int add[3] = { 0 };
	bool ok = true;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ok = ok && k_attention(NULL, none, NULL, none, none, none, &bad[i]) == cudaErrorInvalidValue &&
		     k_attention_back(NULL, none, none, none, none, none, NULL, none, none, none, &bad[i], add, NULL) ==
		     cudaErrorInvalidValue;
	verdict(r, ok, "refusals of d, scale and mask", 0, 0);
}

/* Both backends' entries, each with the o and lse that it made itself;
 * as products.c, an rms of 4 2^-12 of the value. */
static void through_backend(struct rig *r, int n, int heads, int d, int lq, int lk)
{
	const int c = heads * d, add[3] = { 0, 1, 0 };
	const struct attention_shape s = { n, heads, d, lq, lk, c, c, c, c, false, 1 / sqrtf(d) };
	const size_t nq = (size_t)n * lq * c, nk = (size_t)n * lk * c;
	const struct both q = take_drawn(r, nq, 1), k = take_drawn(r, nk, 1), v = take_drawn(r, nk, 1),
		dout = take_drawn(r, nq, 1);
	const struct both o = take_output(r, nq, false), lse = take_output(r, (size_t)n * heads * lq, false);
	const struct both dq = take_output(r, nq, add[0]), dk = take_output(r, nk, add[1]),
		dv = take_output(r, nk, add[2]);
	const double limit = 4 * ldexp(1, -12);
	int i;

	for (i = 0; i < SIDES; i++) {
		r->be[i]->attention(r->device[i], f32(o.at[i]), lse.at[i], f32(q.at[i]), f32(k.at[i]), f32(v.at[i]),
				    &s);
		r->be[i]->attention_back(r->device[i], f32(dq.at[i]), f32(dk.at[i]), f32(dv.at[i]), f32(dout.at[i]),
					 f32(o.at[i]), lse.at[i], f32(q.at[i]), f32(k.at[i]), f32(v.at[i]), &s, add);
	}
	compare(r, &o, limit, "through the backend: o");
	compare(r, &lse, limit, "through the backend: lse");
	compare(r, &dq, limit, "through the backend: dq");
	compare(r, &dk, limit, "through the backend: dk, added");
	compare(r, &dv, limit, "through the backend: dv");
	give(r, q); give(r, k); give(r, v); give(r, dout); give(r, o); give(r, lse); give(r, dq); give(r, dk);
	give(r, dv);
}

int main(void)
{
	struct error e;
	struct rig r;
	size_t i;

	if (rig_open(&r, &e) < 0)
		return report(&e);
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (!quick() || cases[i].n < MANY)
			run_case(&r, &cases[i]);
	run_grid(&r);
	for (i = 0; i < sizeof(special) / sizeof(*special); i++) {
		nan_stays(&r, &special[i]);
		keys_at_minus_infinity(&r, &special[i]);
	}
	refusals(&r);
	through_backend(&r, 2, 2, 64, 128, 128);
	through_backend(&r, 1, 2, 64, 530, 77);
	return rig_close(&r);
}
