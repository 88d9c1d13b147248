/* Adafactor's step, over threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "internal.h"

/* A row is [cols,inner], a column one of its elements. */
enum { COLUMNS = 256 };         /* columns summed at a time */

struct factors {
	float *row, *col;
	const float *grad;
	const struct factored_shape *s;
	const struct adafactor_step *step;
	float *row_factor, *col_factor;         /* 1 / sqrt of row / mean, and of col */
};

static void move_mean(float *mean, double sum, int count, const struct factors *f)
{
	*mean = (1 - f->step->share) * *mean + f->step->share * (sum / count + f->step->eps);
}

static void add_squares(double *sum, const float *grad, int n, float scale)
{
	for (int i = 0; i < n; i++) {
		const float g = scale * grad[i];

		sum[i] += (double)g * g;
	}
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
			add_squares(sum, g, inner, f->step->grad_scale);
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
		add_squares(sum, g, n, f->step->grad_scale);
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

/* Moves the means, and sets the factors of which u is made. */
static void move_means(struct device *d, const struct factors *f)
{
	const struct factored_shape *s = f->s;
	const int rows = s->outer * s->rows, width = s->cols * s->inner;
	const double work = (double)rows * width;

	run_tasks(d, row_tasks(rows, width), work, row_task, f);
	run_tasks(d, row_tasks(s->outer * column_blocks(s), s->rows * COLUMNS), work, column_task, f);
	set_row_factors(f->row_factor, f->row, s);
	for (size_t i = 0; i < (size_t)s->outer * width; i++)
		f->col_factor[i] = 1 / sqrt(f->col[i]);
}

/* u of a chunk, which may begin and end amid a row */
static const float *factored(const struct chunk *c, const struct factors *f)
{
	const struct factored_shape *s = f->s;
	const size_t inner = s->inner, width = s->cols * inner;
	float *u = c->room[1];
	size_t i, end;

	for (i = 0; i < c->of.n; i = end) {
		const size_t line = (c->at + i) / width, at = (c->at + i) % width;
		const float *row = f->row_factor + line * inner, *col = f->col_factor + line / s->rows * width + at;

		size_t in = at % inner;

		end = i + (width - at < c->of.n - i ? width - at : c->of.n - i);
		for (size_t k = i; k < end; k++, in = in + 1 < inner ? in + 1 : 0)
			u[k] = f->step->grad_scale * c->of.grad[k] * row[in] * col[k - i];
	}
	return u;
}

static void measure_rule(const struct chunk *c, double *squares)
{
	const struct factors *f = c->common;

	squares[0] = c->k->sum_squares(factored(c, f), c->of.n);
	squares[1] = f->step->scaled ? c->k->sum_squares(c->of.p, c->of.n) : 0;
}

/* How far to go, and what of the parameter is kept. */
struct way { const struct factors *f; double size, too_long; };

static void move_rule(const struct chunk *c, double *moved)
{
	const struct way *w = c->common;
	const struct adafactor_step *s = w->f->step;
	const float *u = factored(c, w->f), keep = 1 - s->decay * w->size;
	float *moment = c->of.state[2];

	remember(c);
	if (moment) {
		c->k->axpby(moment, (1 - s->beta1) * w->size / w->too_long, u, s->beta1, c->of.n);
		c->k->axpby(c->of.p, -1, moment, keep, c->of.n);
	} else {
		c->k->axpby(c->of.p, -w->size / w->too_long, u, keep, c->of.n);
	}
	*moved = squares_moved(c);
}

static void move(struct device *d, double *moved, const struct trained *u, const struct factors *f)
{
	const struct adafactor_step *s = f->step;
	struct way way = { f };
	double squares[2];

	move_means(d, f);
	run_table(d, &(struct table){ u, 1, measure_rule, .common = f, .work = 4, .sums = 2 }, squares);
	way.size = (s->scaled ? fmax(s->least_scale, sqrt(squares[1] / u->n)) : 1) * s->size;
	way.too_long = fmax(1, sqrt(squares[0] / u->n) / s->clip);
	run_table(d, &(struct table){ u, 1, move_rule, .common = &way, .work = 6, .sums = 1 }, moved);
}

/* One after another: a parameter's rows and columns must be known before any of it moves. */
void cpu_adafactor(struct device *d, double *moved, const struct trained *t, const struct adafactor_step *s, int count)
{
	for (int i = 0; i < count; i++) {
		const struct factored_shape *shape = &t[i].shape;
		const size_t rows = (size_t)shape->outer * shape->rows * shape->inner,
			     columns = (size_t)shape->outer * shape->cols * shape->inner;
		float *factor = xmalloc((rows + columns) * sizeof(*factor));
		const struct factors f = { t[i].state[0], t[i].state[1], t[i].grad, shape, &s[i], factor,
					   factor + rows };

		move(d, &moved[i], &t[i], &f);
		free(factor);
	}
}
