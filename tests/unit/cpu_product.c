/* The CPU's matrix products against double precision. */
#include "cpu_reference.h"

/* A sum of k products in float, in blocks of 256: rounding grows like the root of k, far below k * 6e-8. */
static double tolerance(int k) { return 1e-6 * (1 + sqrt(k) / 8); }

struct product_case { int ta, tb, m, n, k; float alpha, beta; int spare; };

struct product_args { const struct product_case *c; const float *a, *b; int lda, ldb, ldc; };

static void run_gemm(struct device *d, struct output *out, const void *arg)
{
	const struct product_args *p = arg;
	const struct product_case *c = p->c;

	cpu_backend.gemm(d, c->ta, c->tb, c->m, c->n, c->k, c->alpha, f32(p->a), p->lda, f32(p->b), p->ldb, c->beta,
			 f32(out->data), p->ldc);
}

static void check_gemm(const struct product_case *c)
{
	struct product_args p = { c, .lda = (c->ta ? c->m : c->k) + c->spare, .ldb = (c->tb ? c->k : c->n) + c->spare,
				  .ldc = c->n + c->spare };
	float *a = randoms(1, (size_t)p.lda * (c->ta ? c->k : c->m)),
		*b = randoms(2, (size_t)p.ldb * (c->tb ? c->n : c->k));
	struct output out = { .n = (size_t)p.ldc * c->m, .tolerance = tolerance(c->k) };
	float *before = randoms(3, out.n);
	int i, j, k;

	p.a = a;
	p.b = b;
	out.expect = doubles(out.n);
	/* Columns between n and ldc belong to somebody else and stay. */
	for (i = 0; i < c->m; i++) {
		for (j = 0; j < p.ldc; j++) {
			float *old = &before[i * p.ldc + j];
			double sum = 0;

			if (j >= c->n) {
				out.expect[i * p.ldc + j] = *old;
				continue;
			}
			for (k = 0; k < c->k; k++)
				sum += (double)a[c->ta ? k * p.lda + i : i * p.lda + k] * b[c->tb ? j * p.ldb +
					k : k * p.ldb + j];
			out.expect[i * p.ldc + j] = c->alpha * sum + (c->beta != 0 ? c->beta * *old : 0);
			if (c->beta == 0)
				*old = NAN;
		}
	}
	out.before = before;
	every_way(&out, 1, run_gemm, &p);
	free(out.expect);
	guarded_free(a);
	guarded_free(b);
	guarded_free(before);
}

static void gemm_agrees_with_double(void **state)
{
	static const struct product_case cases[] = {
		{ 0, 0, 1, 1, 1, 1, 0, 0 }, { 0, 1, 7, 17, 9, 1, 0, 3 }, { 1, 0, 13, 33, 300, 0.5f, 1, 5 },
			{ 1, 1, 6, 16, 256, 2, -0.25f, 1 },
		{ 0, 0, 97, 5, 257, -1, 1, 2 }, { 0, 1, 200, 100, 600, 1, 0, 0 }, { 0, 1, 1024, 4, 320, 1, 0, 0 },
			{ 1, 0, 320, 4, 1024, 0.25f, 1, 0 },
		{ 0, 0, 1000, 320, 4, 1, 1, 0 }, { 1, 0, 4, 320, 1024, 1, 0, 0 }, { 0, 1, 77, 640, 513, 1, 0, 0 },
			{ 0, 0, 5, 1030, 31, 1, 0, 7 },
		/* left rows, or columns, that lie 2 KB apart: copied where many columns use them */
		{ 0, 1, 31, 9, 512, 1, 0, 0 }, { 1, 0, 512, 9, 300, 1, 1, 0 }, { 1, 0, 110, 200, 300, 1, 0, 1 },
		{ 0, 1, 110, 200, 1024, 1, 0, 0 }, { 1, 0, 512, 150, 300, 1, 1, 0 }, { 0, 0, 31, 100, 500, 1, 0, 12 },
		{ 0, 1, 15, 100, 2560, 0.5f, 1, 0 },
		/* few rows: the right matrix is read where it lies, but for its last columns */
		{ 1, 0, 16, 77, 600, 0.5f, 1, 3 }, { 0, 0, 14, 96, 300, 1, 0, 0 }, { 1, 0, 3, 31, 700, 1, 1, 1 },
		/* more of k than is packed at once */
		{ 0, 1, 15, 40, 2500, 1, 1, 0 }, { 0, 0, 100, 70, 2100, 0.5f, 1, 3 },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		check_gemm(&cases[i]);
}

/* A weight as a file has it, from `bytes` on, which are not aligned; values: what is stored there. */
struct stored { enum dtype dtype; int out, in; char *bytes; float *values; };

static struct stored stored(enum dtype dtype, int out, int in)
{
	const size_t n = (size_t)out * in;
	struct stored s = { dtype, out, in, xmalloc(n * dtype_size(dtype) + 1), randoms(4, n) };

	assert_int_equal(from_float(s.bytes + 1, dtype, s.values, n), 0);
	assert_int_equal(to_float(s.values, s.bytes + 1, dtype, n), 0);
	return s;
}

static void stored_free(struct stored *s)
{
	free(s->bytes);
	guarded_free(s->values);
}

static struct weight prepared(struct device *d, const struct stored *s)
{
	struct weight w = { .dtype = s->dtype, .out = s->out, .in = s->in, .kh = 1, .kw = 1 };

	assert_int_equal(cpu_backend.prepare(d, &w, s->bytes + 1), 0);
	return w;
}

struct linear_args { const struct stored *w; const float *x, *bias; int rows, add; const struct narrow *more; };

static void run_linear(struct device *d, struct output *out, const void *arg)
{
	const struct linear_args *p = arg;
	struct weight w = prepared(d, p->w);

	cpu_backend.linear(d, f32(out->data), f32(p->x), &w, p->bias, p->rows, p->more);
	cpu_backend.unprepare(d, &w);
}

static void run_linear_dx(struct device *d, struct output *out, const void *arg)
{
	const struct linear_args *p = arg;
	struct weight w = prepared(d, p->w);

	cpu_backend.linear_dx(d, f32(out->data), f32(p->x), &w, p->rows, p->add, p->more);
	cpu_backend.unprepare(d, &w);
}

static void check_linear(enum dtype dtype, int rows, int in, int n_out, bool bias)
{
	float *b = randoms(5, n_out), *x = randoms(6, (size_t)rows * in);
	struct stored w = stored(dtype, n_out, in);
	const struct linear_args p = { &w, x, bias ? b : NULL, rows, 0, NULL };
	struct output out = { .n = (size_t)rows * n_out, .expect = doubles((size_t)rows * n_out),
			      .tolerance = tolerance(in) };
	int i, j, k;

	for (i = 0; i < rows; i++)
		for (j = 0; j < n_out; j++) {
			double sum = bias ? b[j] : 0;

			for (k = 0; k < in; k++)
				sum += (double)x[i * in + k] * w.values[j * in + k];
			out.expect[i * n_out + j] = sum;
		}
	every_way(&out, 1, run_linear, &p);
	free(out.expect);
	stored_free(&w);
	guarded_free(b);
	guarded_free(x);
}

static void check_linear_dx(enum dtype dtype, int rows, int in, int n_out, int add)
{
	float *dy = randoms(7, (size_t)rows * n_out), *before = randoms(8, (size_t)rows * in);
	struct stored w = stored(dtype, n_out, in);
	const struct linear_args p = { &w, dy, NULL, rows, add, NULL };
	struct output out = { .n = (size_t)rows * in, .before = add ? before : NULL,
			      .expect = doubles((size_t)rows * in), .tolerance = tolerance(n_out) };
	int i, j, k;

	for (i = 0; i < rows; i++)
		for (k = 0; k < in; k++) {
			double sum = add ? before[i * in + k] : 0;

			for (j = 0; j < n_out; j++)
				sum += (double)dy[i * n_out + j] * w.values[j * in + k];
			out.expect[i * in + k] = sum;
		}
	every_way(&out, 1, run_linear_dx, &p);
	free(out.expect);
	stored_free(&w);
	guarded_free(dy);
	guarded_free(before);
}

static const struct { int rows, in, out; } linear_shapes[] = {
	{ 1, 1, 1 }, { 1, 320, 100 }, { 4, 33, 7 }, { 77, 64, 130 }, { 301, 257, 19 }, { 100, 700, 300 },
	/* weights that lie in panels; rows that are one pass, and one more */
	{ 1, 40, 64 }, { 77, 300, 96 }, { 266, 70, 192 }, { 267, 600, 64 }, { 540, 300, 32 },
};

static void linear_agrees_with_double(void **state)
{
	static const enum dtype dtypes[] = { DTYPE_F32, DTYPE_F16, DTYPE_BF16 };
	size_t i, t;

	for (i = 0; i < sizeof(linear_shapes) / sizeof(*linear_shapes); i++)
		for (t = 0; t < 3; t++) {
			check_linear(dtypes[t], linear_shapes[i].rows, linear_shapes[i].in, linear_shapes[i].out,
				     i % 2);
			check_linear_dx(dtypes[t], linear_shapes[i].rows, linear_shapes[i].in, linear_shapes[i].out,
					i % 2);
		}
}

/* A weight in panels and one in the order of its file. */
static void panels_change_no_byte(void **state)
{
	enum { IN = 290, OUT = 320, MOST = 300 };
	static const int rows[] = { 1, 50, 266, MOST };
	struct error e;
	struct device *d = cpu_backend.open(&e);
	float *x = randoms(1, MOST * OUT), *y[2] = { guarded(MOST * OUT), guarded(MOST * OUT) },
	      *dx[2] = { guarded(MOST * IN), guarded(MOST * IN) };
	struct stored file = stored(DTYPE_F32, OUT, IN);
	struct weight w[2] = { prepared(d, &file) };

	assert_int_equal(w[0].panel, d->k->nr);
	w[1] = w[0];
	w[1].panel = 0;
	w[1].data = file.values;
	for (size_t r = 0; r < sizeof(rows) / sizeof(*rows); r++) {
		for (int i = 0; i < 2; i++) {
			cpu_backend.linear(d, f32(y[i]), f32(x), &w[i], NULL, rows[r], NULL);
			cpu_backend.linear_dx(d, f32(dx[i]), f32(x), &w[i], rows[r], 0, NULL);
		}
		assert_memory_equal(y[0], y[1], rows[r] * OUT * sizeof(float));
		assert_memory_equal(dx[0], dx[1], rows[r] * IN * sizeof(float));
	}
	cpu_backend.unprepare(d, &w[0]);
	cpu_backend.close(d);
	for (int i = 0; i < 2; i++) {
		guarded_free(y[i]);
		guarded_free(dx[i]);
	}
	stored_free(&file);
	guarded_free(x);
}

/* One layer both ways: the product of two narrow matrices within, or by gemm() afterwards. */
struct joined_args { const struct linear_args *layer; bool back, within; };

static void run_joined(struct device *d, struct output *out, const void *arg)
{
	const struct joined_args *j = arg;
	struct linear_args p = *j->layer;
	const struct narrow *more = p.more;
	const int n = j->back ? p.w->in : p.w->out;

	if (!j->within)
		p.more = NULL;
	(j->back ? run_linear_dx : run_linear)(d, out, &p);
	if (!j->within) cpu_backend.gemm(d, 0, !j->back, p.rows, n, more->rank, more->scale, f32(more->z), more->rank,
					 f32(more->by), j->back ? n : more->rank, 1, f32(out->data), n);
}

static void check_joined(int rows, int in, int n_out, int rank, bool back)
{
	struct error e;
	struct device *d = cpu_backend.open(&e);
	const int n = back ? in : n_out;
	const size_t count = (size_t)rows * n;
	float *x = randoms(9, (size_t)rows * (back ? n_out : in)), *bias = randoms(10, n_out),
	      *z = randoms(11, (size_t)rows * rank), *by = randoms(12, (size_t)n * rank), *before = randoms(13, count);
	const struct narrow more = { z, by, rank, 0.75f };
	struct stored w = stored(DTYPE_F16, n_out, in);
	const struct linear_args layer = { &w, x, bias, rows, 1, &more };
	struct output out = { .n = count, .before = before, .data = guarded(count), .expect = doubles(count) };

	refill(&out);
	run_joined(d, &out, &(struct joined_args){ &layer, back, false });
	for (size_t i = 0; i < count; i++)
		out.expect[i] = out.data[i];
	guarded_free(out.data);
	every_way(&out, 1, run_joined, &(struct joined_args){ &layer, back, true });
	free(out.expect);
	stored_free(&w);
	cpu_backend.close(d);
	guarded_free(x);
	guarded_free(bias);
	guarded_free(z);
	guarded_free(by);
	guarded_free(before);
}

/* The same bytes: the tolerance is 0.  Ranks below and above a range of k, and one whose rows are copied. */
static void a_narrow_product_joins_a_layers(void **state)
{
	static const int ranks[] = { 1, 16, 300, 512 };

	for (size_t i = 0; i < sizeof(linear_shapes) / sizeof(*linear_shapes); i++)
		for (size_t r = 0; r < sizeof(ranks) / sizeof(*ranks); r++)
			for (int back = 0; back < 2; back++)
				check_joined(linear_shapes[i].rows, linear_shapes[i].in, linear_shapes[i].out,
					     ranks[r], back);
	check_joined(120, 1100, 90, 16, false);
	check_joined(120, 90, 1100, 16, true);
}

/* What gemm() makes, to the bit: z on the way to a layer's product, and the gradients of both factors. */
static void narrow_products_are_gemms(void **state)
{
	enum { ROWS = 70, IN = 45, OUT = 33, RANK = 7 };
	struct error e;
	struct device *d = cpu_backend.open(&e);
	float *x = randoms(1, ROWS * IN), *dy = randoms(2, ROWS * OUT), *up = randoms(3, OUT * RANK),
	      *down = randoms(4, RANK * IN), *y[2], *z[2], *dx[2], *dz[2], *dup[2], *ddown[2];
	struct stored file = stored(DTYPE_BF16, OUT, IN);
	struct weight w = prepared(d, &file);
	const struct { float **of; size_t n; } made[] = { { y, ROWS * OUT }, { z, ROWS * RANK }, { dx, ROWS * IN },
							  { dz, ROWS * RANK }, { dup, OUT * RANK },
							  { ddown, RANK * IN } };

	for (size_t i = 0; i < 12; i++)
		made[i / 2].of[i % 2] = randoms(5 + i / 2, made[i / 2].n);
	cpu_backend.linear(d, f32(y[0]), f32(x), &w, NULL, ROWS, &(struct narrow){ z[0], up, RANK, 0.5f, down, 1 });
	cpu_backend.linear_dx(d, f32(dx[0]), f32(dy), &w, ROWS, 1,
			      &(struct narrow){ dz[0], down, RANK, 1, up, 0.5f });
	cpu_backend.narrow_grads(d, &(struct stacked_grads){ { { dup[0], ddown[0], 1, 0, f32(dy), f32(x), z[0], dz[0],
								 ROWS, OUT, IN, RANK, OUT, 0.5f },
							       { .rows = ROWS, .rank = RANK } }, 2 });
	cpu_backend.gemm(d, 0, 1, ROWS, RANK, IN, 1, f32(x), IN, f32(down), IN, 0, f32(z[1]), RANK);
	cpu_backend.linear(d, f32(y[1]), f32(x), &w, NULL, ROWS, &(struct narrow){ z[1], up, RANK, 0.5f });
	cpu_backend.gemm(d, 0, 0, ROWS, RANK, OUT, 0.5f, f32(dy), OUT, f32(up), RANK, 0, f32(dz[1]), RANK);
	cpu_backend.linear_dx(d, f32(dx[1]), f32(dy), &w, ROWS, 1, &(struct narrow){ dz[1], down, RANK, 1 });
	cpu_backend.gemm(d, 1, 0, OUT, RANK, ROWS, 0.5f, f32(dy), OUT, f32(z[1]), RANK, 1, f32(dup[1]), RANK);
	cpu_backend.gemm(d, 1, 0, RANK, IN, ROWS, 1, f32(dz[1]), RANK, f32(x), IN, 0, f32(ddown[1]), IN);
	for (size_t i = 0; i < 6; i++) {
		assert_memory_equal(made[i].of[0], made[i].of[1], made[i].n * sizeof(float));
		guarded_free(made[i].of[0]);
		guarded_free(made[i].of[1]);
	}
	cpu_backend.unprepare(d, &w);
	cpu_backend.close(d);
	stored_free(&file);
	guarded_free(x);
	guarded_free(dy);
	guarded_free(up);
	guarded_free(down);
}

/* Panels and runs that are turned round: one and several, whole and begun; sums of two ranges; and what was there. */
static void up_gradients_are_gemms(void **state)
{
	enum { ROWS = 300, OUT = 700, LD = 710 };
	static const int ranks[] = { 1, 16, 33, 70 };
	struct error e;
	float *dy = randoms(1, ROWS * LD);

	for (size_t i = 0; i < 2 * sizeof(ranks) / sizeof(*ranks); i++) {
		const int rank = ranks[i / 2], add = i % 2;
		struct device *d = cpu_backend.open(&e);
		float *z = randoms(2, ROWS * rank), *seen = randoms(3, OUT * rank), *wanted = randoms(3, OUT * rank);

		cpu_backend.gemm(d, 1, 0, OUT, rank, ROWS, 0.5f, f32(dy), LD, f32(z), rank, add, f32(wanted), rank);
		cpu_backend.narrow_grads(d, &(struct stacked_grads){ { {
			.dup = seen, .add_up = add, .dy = f32(dy), .z = z, .rows = ROWS, .out = OUT, .in = 1,
			.rank = rank, .ldy = LD, .scale = 0.5f } }, 1 });
		assert_memory_equal(seen, wanted, OUT * rank * sizeof(float));
		assert_true(d->scratch[d->threads].size <= cpu_product_scratch(rank, (size_t)OUT * rank, 1) -
			    cpu_product_scratch(rank, 0, 1));
		cpu_backend.close(d);
		guarded_free(z);
		guarded_free(seen);
		guarded_free(wanted);
	}
	guarded_free(dy);
}

static void scratch_is_what_was_said(void **state)
{
	enum { ROWS = 64, IN = 1536, OUT = 1280, RANK = 300 };
	struct error e;
	struct device *d;
	float *x = randoms(1, ROWS * IN), *z = randoms(2, ROWS * RANK), *by = randoms(3, OUT * RANK),
	      *data = randoms(4, (size_t)OUT * IN), *y = guarded(ROWS * OUT);
	const struct weight w = { .data = data, .dtype = DTYPE_F32, .out = OUT, .in = IN };
	const struct narrow more = { z, by, RANK, 0.5f };

	for (int joined = 0; joined < 2; joined++) {
		size_t held;

		threads_use(2);
		d = cpu_backend.open(&e);
		assert_non_null(d);
		cpu_backend.linear(d, f32(y), f32(x), &w, NULL, ROWS, joined ? &more : NULL);
		/* a thread may have had no task */
		held = d->scratch[0].size > d->scratch[1].size ? d->scratch[0].size : d->scratch[1].size;
		assert_int_equal(d->scratch[2].size + 2 * held, cpu_product_scratch(joined ? RANK : 0, 0, 2));
		cpu_backend.close(d);
	}
	threads_use(0);
	guarded_free(x);
	guarded_free(z);
	guarded_free(by);
	guarded_free(data);
	guarded_free(y);
}

/* Every one of the 65536 halves of both kinds, subnormal numbers, infinities and NaN among them. */
static void halves_widen_exactly(void **state)
{
	float *got = xmalloc(65536 * sizeof(*got)), *expect = xmalloc(65536 * sizeof(*expect));
	uint16_t *bits = xmalloc(65536 * sizeof(*bits));
	int i, t;

	for (i = 0; i < 65536; i++)
		bits[i] = i;
	for (t = 0; cpu_set_at(t / 2); t++) {
		enum dtype dtype = t & 1 ? DTYPE_BF16 : DTYPE_F16;

		assert_int_equal(to_float(expect, bits, dtype, 65536), 0);
		cpu_set_at(t / 2)->widen(got, bits, dtype, 65536);
		for (i = 0; i < 65536; i++)
			if (isnan(expect[i]))
				assert_true(isnan(got[i]));
			else
				assert_memory_equal(&got[i], &expect[i], sizeof(float));
	}
	free(got);
	free(expect);
	free(bits);
}

/* One NaN in x spoils its whole row of y, and no other row. */
static void nan_stays_in_its_row(void **state)
{
	struct error e;
	struct device *d = cpu_backend.open(&e);
	float *x = randoms(9, 20 * 30), *b = randoms(10, 40 * 30), *y = guarded(20 * 40);
	int i, j;

	x[7 * 30 + 29] = NAN;
	cpu_backend.gemm(d, 0, 1, 20, 40, 30, 1, f32(x), 30, f32(b), 30, 0, f32(y), 40);
	for (i = 0; i < 20; i++)
		for (j = 0; j < 40; j++)
			assert_int_equal(!!isnan(y[i * 40 + j]), i == 7);
	cpu_backend.close(d);
	guarded_free(x);
	guarded_free(b);
	guarded_free(y);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gemm_agrees_with_double), cmocka_unit_test(linear_agrees_with_double),
		cmocka_unit_test(panels_change_no_byte),
		cmocka_unit_test(a_narrow_product_joins_a_layers), cmocka_unit_test(narrow_products_are_gemms),
		cmocka_unit_test(up_gradients_are_gemms),
		cmocka_unit_test(scratch_is_what_was_said),
		cmocka_unit_test(halves_widen_exactly), cmocka_unit_test(nan_stays_in_its_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
