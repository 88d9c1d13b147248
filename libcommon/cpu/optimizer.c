/* Sums over a tensor, and the steps of the optimizers, over threads. */
#include <math.h>
#include <string.h>
#include "internal.h"

/* ---- sums ---- */

struct sum { const float *x, *z; size_t n; double *part; };

static void sum_task(struct device *d, const void *arg, int task, int thread)
{
	const struct sum *s = arg;
	const size_t at = (size_t)task * CHUNK, n = chunk_length(s->n, at);

	s->part[task] = s->z ? d->k->dot(s->x + at, s->z + at, n) : d->k->sum_magnitudes(s->x + at, n);
}

/* Partial sums, one a chunk, added up in order: the same for any number of threads. */
static double sum_up(struct device *d, const float *x, const float *z, size_t n)
{
	const struct sum s = { x, z, n, caller_scratch(d, chunks_of(n) * sizeof(double)) };
	double sum = 0;
	int i;

	run_tasks(d, chunks_of(n), n, sum_task, &s);
	for (i = 0; i < chunks_of(n); i++)
		sum += s.part[i];
	return sum;
}

double cpu_sum_products(struct device *d, const float *x, const float *z, size_t n)
{
	return sum_up(d, x, z, n);
}

double cpu_sum_magnitudes(struct device *d, const float *x, size_t n)
{
	return sum_up(d, x, NULL, n);
}

/* ---- elementwise ---- */

struct combination { float *y, a; const float *x, *v; float eps, b; size_t n; };

static void combine_task(struct device *d, const void *arg, int task, int thread)
{
	const struct combination *c = arg;
	const size_t at = (size_t)task * CHUNK, n = chunk_length(c->n, at);

	if (c->v)
		d->k->over_root(c->y + at, c->a, c->x + at, c->v + at, c->eps, c->b, n);
	else
		d->k->axxpby(c->y + at, c->a, c->x + at, c->b, n);
}

void cpu_axxpby(struct device *d, float *y, float a, const float *x, float b, size_t n)
{
	const struct combination c = { y, a, x, NULL, 0, b, n };

	run_tasks(d, chunks_of(n), n, combine_task, &c);
}

void cpu_over_root(struct device *d, float *y, float a, const float *x, const float *v, float eps, float b, size_t n)
{
	const struct combination c = { y, a, x, v, eps, b, n };

	run_tasks(d, chunks_of(n), 4.0 * n, combine_task, &c);
}

struct lion_update { float *p, *m; const float *grad; size_t n; const struct adamw_step *step; };

static void lion_task(struct device *d, const void *arg, int task, int thread)
{
	const struct lion_update *u = arg;
	const size_t at = (size_t)task * CHUNK;

	d->k->lion(u->p + at, u->m + at, u->grad + at, chunk_length(u->n, at), u->step);
}

void cpu_lion(struct device *d, float *p, float *m, const float *grad, size_t n, const struct adamw_step *s)
{
	const struct lion_update u = { p, m, grad, n, s };

	run_tasks(d, chunks_of(n), 4.0 * n, lion_task, &u);
}

/* ---- moments in bytes ---- */

struct update8 { float *p; const struct adam8_moments *q; const float *grad; size_t n; const struct adamw_step *step; };

static void adamw8bit_task(struct device *d, const void *arg, int task, int thread)
{
	const struct update8 *u = arg;
	const struct adam8_moments *q = u->q;
	size_t at = (size_t)task * CHUNK, end = at + chunk_length(u->n, at);

	for (; at < end; at += ADAM8_BLOCK) {
		const size_t block = at / ADAM8_BLOCK;
		const struct adam8_moments here = { q->code1 + at, q->code2 + at, q->absmax1 + block,
						    q->absmax2 + block, q->map1, q->map2 };

		d->k->adamw8bit(u->p + at, &here, u->grad + at, end - at < ADAM8_BLOCK ? end - at : ADAM8_BLOCK,
				u->step);
	}
}

void cpu_adamw8bit(struct device *d, float *p, const struct adam8_moments *q, const float *grad, size_t n,
		   const struct adamw_step *s)
{
	const struct update8 u = { p, q, grad, n, s };

	_Static_assert(CHUNK % ADAM8_BLOCK == 0, "a block belongs to one task");
	run_tasks(d, chunks_of(n), 30.0 * n, adamw8bit_task, &u);
}

/* ---- Adafactor: a row is [cols,inner], a column one of its elements ---- */

enum { COLUMNS = 256 };         /* columns summed at a time */

struct factors {
	float *u, *row, *col;
	const float *grad;
	const struct factored_shape *s;
	double share;
	float eps;
	const float *row_factor, *col_factor;   /* 1 / sqrt of row / mean, and of col */
};

static void move_mean(float *mean, double sum, int count, const struct factors *f)
{
	*mean = (1 - f->share) * *mean + f->share * (sum / count + f->eps);
}

static void row_task(struct device *d, const void *arg, int task, int thread)
{
	const struct factors *f = arg;
	const int inner = f->s->inner, width = f->s->cols * inner;
	double *sum = thread_scratch(d, thread, inner * sizeof(*sum));
	struct rows r = rows_of_task(task, f->s->outer * f->s->rows, width);
	int i, c;

	for (; r.first < r.last; r.first++) {
		const float *g = f->grad + (size_t)r.first * width;
		memset(sum, 0, inner * sizeof(*sum));
		for (c = 0; c < f->s->cols; c++, g += inner)
			for (i = 0; i < inner; i++)
				sum[i] += (double)g[i] * g[i];
		for (i = 0; i < inner; i++)
			move_mean(&f->row[(size_t)r.first * inner + i], sum[i], f->s->cols, f);
	}
}

static int column_blocks(const struct factored_shape *s)
{
	return (s->cols * s->inner + COLUMNS - 1) / COLUMNS;
}

static void column_block(const struct factors *f, int outer, int first)
{
	const int width = f->s->cols * f->s->inner, n = width - first < COLUMNS ? width - first : COLUMNS;
	const float *g = f->grad + (size_t)outer * f->s->rows * width + first;
	double sum[COLUMNS] = { 0 };
	int r, i;

	for (r = 0; r < f->s->rows; r++, g += width)
		for (i = 0; i < n; i++)
			sum[i] += (double)g[i] * g[i];
	for (i = 0; i < n; i++)
		move_mean(&f->col[(size_t)outer * width + first + i], sum[i], f->s->rows, f);
}

static void column_task(struct device *d, const void *arg, int task, int thread)
{
	const struct factors *f = arg;
	const int blocks = column_blocks(f->s);
	struct rows r = rows_of_task(task, f->s->outer * blocks, f->s->rows * COLUMNS);

	for (; r.first < r.last; r.first++)
		column_block(f, r.first / blocks, r.first % blocks * COLUMNS);
}

static void factored_task(struct device *d, const void *arg, int task, int thread)
{
	const struct factors *f = arg;
	const int inner = f->s->inner, width = f->s->cols * inner;
	struct rows r = rows_of_task(task, f->s->outer * f->s->rows, width);
	int i, c;

	for (; r.first < r.last; r.first++) {
		const float *row = f->row_factor + (size_t)r.first * inner,
			*col = f->col_factor + (size_t)(r.first / f->s->rows) * width;
		const size_t at = (size_t)r.first * width;
		for (c = 0; c < width; c += inner)
			for (i = 0; i < inner; i++)
				f->u[at + c + i] = f->grad[at + c + i] * row[i] * col[c + i];
	}
}

static void set_row_factors(float *factor, const float *row, const struct factored_shape *s)
{
	const size_t each = (size_t)s->rows * s->inner;
	int o, r, i;

	for (o = 0; o < s->outer; o++, factor += each, row += each)
		for (i = 0; i < s->inner; i++) {
			double sum = 0;
			for (r = 0; r < s->rows; r++)
				sum += row[r * s->inner + i];
			for (r = 0; r < s->rows; r++)
				factor[r * s->inner + i] = 1 / sqrt(row[r * s->inner + i] / (sum / s->rows));
		}
}

void cpu_adafactor(struct device *d, float *u, float *row, float *col, const float *grad,
		   const struct factored_shape *s, double share, float eps)
{
	const int rows = s->outer * s->rows, width = s->cols * s->inner;
	const size_t columns = (size_t)s->outer * width, row_values = (size_t)rows * s->inner;
	const double work = (double)rows * width;
	char *at = caller_scratch(d, floats(row_values) + floats(columns));
	float *row_factor = carve(&at, row_values), *col_factor = carve(&at, columns);
	const struct factors f = { u, row, col, grad, s, share, eps, row_factor, col_factor };
	size_t i;

	run_tasks(d, row_tasks(rows, width), work, row_task, &f);
	run_tasks(d, row_tasks(s->outer * column_blocks(s), s->rows * COLUMNS), work, column_task, &f);
	set_row_factors(row_factor, row, s);
	for (i = 0; i < columns; i++)
		col_factor[i] = 1 / sqrt(col[i]);
	run_tasks(d, row_tasks(rows, width), work, factored_task, &f);
}
