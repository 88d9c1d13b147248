/* The CPU's operations that move values. */
#include "cpu_reference.h"

/* Copies are exact; sums of a few floats round a few times. */
#define SUM_TOLERANCE 3e-7

struct move_args {
	int n, h, w, c, ldx, ldy, add, rows;
	const float *x, *v;
	const int32_t *index;
	const struct weight *table;
};

static const struct move_args shapes[] = {
	{ .n = 1, .h = 1, .w = 1, .c = 1 }, { .n = 2, .h = 3, .w = 5, .c = 7 }, { .n = 3, .h = 32, .w = 24, .c = 70 },
		{ .n = 1, .h = 2, .w = 9, .c = 1281 },
};
enum { SHAPES = sizeof(shapes) / sizeof(*shapes) };

static void run_upsample(struct device *d, struct output *out, const void *arg)
{
	const struct move_args *a = arg;

	cpu_backend.upsample(d, f32(out->data), f32(a->x), a->n, a->h, a->w, a->c);
}

static void run_upsample_back(struct device *d, struct output *out, const void *arg)
{
	const struct move_args *a = arg;

	cpu_backend.upsample_back(d, f32(out->data), f32(a->x), a->n, a->h, a->w, a->c, a->add);
}

static void upsampling(void **state)
{
	for (int t = 0; t < SHAPES; t++) {
		struct move_args a = shapes[t];
		const size_t small = (size_t)a.n * a.h * a.w * a.c;
		float *x = randoms(61, small), *dy = randoms(62, 4 * small), *before = randoms(63, small);
		double *y = doubles(4 * small), *dx = doubles(small);
		struct output out = { 4 * small, NULL, y, 0, NULL };

		for (size_t i = 0; i < 4 * small; i++) {
			const size_t c = i % a.c, px = i / a.c % (2 * a.w), py = i / a.c / (2 * a.w) % (2 * a.h),
				n = i / (4 * small / a.n);

			y[i] = x[((n * a.h + py / 2) * a.w + px / 2) * a.c + c];
		}
		a.x = x;
		every_way(&out, 1, run_upsample, &a);
		a.x = dy;
		for (a.add = 0; a.add < 2; a.add++) {
			for (size_t i = 0; i < small; i++)
				dx[i] = a.add ? before[i] : 0;
			for (size_t i = 0; i < 4 * small; i++) {
				const size_t c = i % a.c, px = i / a.c % (2 * a.w),
					py = i / a.c / (2 * a.w) % (2 * a.h), n = i / (4 * small / a.n);

				dx[((n * a.h + py / 2) * a.w + px / 2) * a.c + c] += dy[i];
			}
			out = (struct output){ small, a.add ? before : NULL, dx, SUM_TOLERANCE, NULL };
			every_way(&out, 1, run_upsample_back, &a);
		}
		free(y);
		free(dx);
		guarded_free(x);
		guarded_free(dy);
		guarded_free(before);
	}
}

static void run_add_per_sample(struct device *d, struct output *out, const void *arg)
{
	const struct move_args *a = arg;

	cpu_backend.add_per_sample(d, f32(out->data), f32(a->x), f32(a->v), a->n, a->h * a->w, a->c);
}

static void run_sum_per_sample(struct device *d, struct output *out, const void *arg)
{
	const struct move_args *a = arg;

	cpu_backend.sum_per_sample(d, f32(out->data), f32(a->x), a->n, a->h * a->w, a->c, a->add);
}

static void per_sample(void **state)
{
	for (int t = 0; t < SHAPES; t++) {
		struct move_args a = shapes[t];
		const size_t each = (size_t)a.h * a.w * a.c, n = a.n * each, nv = (size_t)a.n * a.c;
		float *x = randoms(64, n), *v = randoms(65, nv);
		double *y = doubles(n), *dv = doubles(nv);
		struct output out = { n, NULL, y, SUM_TOLERANCE, NULL };

		a.x = x;
		a.v = v;
		for (size_t i = 0; i < n; i++)
			y[i] = (double)x[i] + v[i / each * a.c + i % a.c];
		every_way(&out, 1, run_add_per_sample, &a);
		for (a.add = 0; a.add < 2; a.add++) {
			for (size_t i = 0; i < nv; i++)
				dv[i] = a.add ? v[i] : 0;
			for (size_t i = 0; i < n; i++)
				dv[i / each * a.c + i % a.c] += x[i];
			out = (struct output){ nv, a.add ? v : NULL, dv, SUM_TOLERANCE, NULL };
			every_way(&out, 1, run_sum_per_sample, &a);
		}
		free(y);
		free(dv);
		guarded_free(x);
		guarded_free(v);
	}
}

static void run_multiply(struct device *d, struct output *out, const void *arg)
{
	const struct move_args *a = arg;

	cpu_backend.multiply(d, f32(out->data), f32(a->x), f32(a->v), a->rows, a->c, a->add);
}

/* Exact: one rounding. */
static void products(void **state)
{
	static const struct move_args cases[] = { { .rows = 1, .c = 1 }, { .rows = 5, .c = 3 },
						  { .rows = 700, .c = 321 } };

	for (size_t t = 0; t < sizeof(cases) / sizeof(*cases); t++) {
		struct move_args a = cases[t];
		const size_t n = (size_t)a.rows * a.c;
		float *x = randoms(68, n), *v = randoms(69, n);
		double *y = doubles(n);
		struct output out = { n, NULL, y, 0, NULL };

		a.x = x;
		a.v = v;
		for (a.add = 0; a.add < 2; a.add++) {           /* here: shared */
			for (size_t i = 0; i < n; i++)
				y[i] = x[i] * v[a.add ? i % a.c : i];
			every_way(&out, 1, run_multiply, &a);
		}
		free(y);
		guarded_free(x);
		guarded_free(v);
	}
}

static void run_copy_columns(struct device *d, struct output *out, const void *arg)
{
	const struct move_args *a = arg;

	cpu_backend.copy_columns(d, f32(out->data), a->ldy, f32(a->x), a->ldx, a->rows, a->c, a->add);
}

static void columns(void **state)
{
	static const struct move_args cases[] = {
		{ .rows = 1, .c = 1, .ldx = 1, .ldy = 1 }, { .rows = 5, .c = 3, .ldx = 9, .ldy = 4 },
			{ .rows = 700, .c = 320, .ldx = 960, .ldy = 400 },
	};

	for (size_t t = 0; t < 3; t++) {
		struct move_args a = cases[t];
		/* The last row ends with its last column: nothing beyond may be touched. */
		const size_t nx = (size_t)(a.rows - 1) * a.ldx + a.c, ny = (size_t)(a.rows - 1) * a.ldy + a.c;
		float *x = randoms(66, nx), *before = randoms(67, ny);
		double *y = doubles(ny);

		a.x = x;
		for (a.add = 1; a.add >= 0; a.add--) {
			struct output out = { ny, before, y, SUM_TOLERANCE, NULL };

			for (size_t i = 0; i < ny; i++) {
				const size_t row = i / a.ldy, col = i % a.ldy;

				y[i] = col < (size_t)a.c ? x[row * a.ldx + col] +
					(a.add ? (double)before[i] : 0) : before[i];
				if (!a.add && col < (size_t)a.c)
					before[i] = NAN;
			}
			every_way(&out, 1, run_copy_columns, &a);
		}
		free(y);
		guarded_free(x);
		guarded_free(before);
	}
}

static void run_gather(struct device *d, struct output *out, const void *arg)
{
	const struct move_args *a = arg;

	cpu_backend.gather_rows(d, f32(out->data), f32(a->x), a->index, a->rows, a->c);
}

static void run_gather_back(struct device *d, struct output *out, const void *arg)
{
	const struct move_args *a = arg;

	cpu_backend.gather_rows_back(d, f32(out->data), f32(a->x), a->index, a->rows, a->c);
}

static void run_embedding(struct device *d, struct output *out, const void *arg)
{
	const struct move_args *a = arg;

	cpu_backend.embedding(d, out->data, a->table, a->index, a->rows);
}

static void gathering(void **state)
{
	enum { ROWS = 7, FROM = 5, C = 37 };
	static const int32_t index[ROWS] = { 4, 0, 2, 2, 1, 4, 2 };
	float *x = randoms(68, FROM * C), *dy = randoms(69, ROWS * C), *before = randoms(70, FROM * C);
	double y[ROWS * C], dx[FROM * C];
	struct move_args a = { .x = x, .index = index, .rows = ROWS, .c = C };
	struct output out = { ROWS * C, NULL, y, 0, NULL };

	for (int i = 0; i < ROWS * C; i++)
		y[i] = x[index[i / C] * C + i % C];
	every_way(&out, 1, run_gather, &a);
	for (int i = 0; i < FROM * C; i++)
		dx[i] = before[i];
	for (int i = 0; i < ROWS * C; i++)
		dx[index[i / C] * C + i % C] += dy[i];
	a.x = dy;
	out = (struct output){ FROM * C, before, dx, SUM_TOLERANCE, NULL };
	every_way(&out, 1, run_gather_back, &a);
	for (int half = 0; half < 2; half++) {
		const enum dtype dtype = half ? DTYPE_F16 : DTYPE_F32;
		uint16_t bits[FROM * C];
		struct weight table = { .data = half ? (void *)bits : (void *)x, .dtype = dtype, .out = FROM, .in = C,
					.kh = 1, .kw = 1 };

		assert_int_equal(from_float(bits, DTYPE_F16, x, FROM * C), 0);
		if (half)
			assert_int_equal(to_float(x, bits, DTYPE_F16, FROM * C), 0);
		for (int i = 0; i < ROWS * C; i++)
			y[i] = x[index[i / C] * C + i % C];
		a.table = &table;
		out = (struct output){ ROWS * C, NULL, y, 0, NULL };
		every_way(&out, 1, run_embedding, &a);
	}
	guarded_free(x);
	guarded_free(dy);
	guarded_free(before);
}

/* prepare() lays 64 rows in panels. */
static void a_table_in_panels(void **state)
{
	enum { ROWS = 7, FROM = 64, C = 37 };
	static const int32_t index[ROWS] = { 63, 0, 31, 32, 1, 63, 2 };
	static const enum dtype types[] = { DTYPE_F32, DTYPE_F16, DTYPE_BF16 };
	float *x = randoms(71, FROM * C), got[ROWS * C], bits[FROM * C];
	struct error e;
	struct device *d = cpu_backend.open(&e);

	for (int t = 0; t < 3; t++) {
		struct weight table = { .dtype = types[t], .out = FROM, .in = C, .kh = 1, .kw = 1 };

		assert_int_equal(from_float(bits, types[t], x, FROM * C), 0);
		assert_int_equal(to_float(x, bits, types[t], FROM * C), 0);
		assert_int_equal(cpu_backend.prepare(d, &table, bits), 0);
		assert_int_equal(table.panel, d->k->nr);
		cpu_backend.embedding(d, got, &table, index, ROWS);
		for (int i = 0; i < ROWS * C; i++)
			assert_float_equal(got[i], x[index[i / C] * C + i % C], 0);
		cpu_backend.unprepare(d, &table);
	}
	cpu_backend.close(d);
	guarded_free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(upsampling), cmocka_unit_test(per_sample),
					    cmocka_unit_test(products),
					    cmocka_unit_test(columns), cmocka_unit_test(gathering),
					    cmocka_unit_test(a_table_in_panels) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
