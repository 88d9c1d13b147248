/* A file's module in numbers: the rows of W' - W, and what is known of them without making them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/linalg.h"
#include "../base/memory.h"
#include "../base/product.h"
#include "../base/singular.h"
#include "../base/vectors.h"
#include "lengths.h"
#include "module_update.h"

/* ---- rows ---- */

enum { BLOCK = 32 };                    /* rows at a time */

static void read_base(const struct base_rows *b, size_t o, size_t j, size_t n, float *row)
{
	memcpy(row, (const float *)b->from + o * b->columns + j, n * sizeof(*row));
}

/* Lengths are measured, and scaled, where W is there. */
static bool has_lengths(const struct module_update *u)
{
	return u->lengths && u->base;
}

static size_t rows_from(const struct module_update *u, size_t first)
{
	return u->rows - first < BLOCK ? u->rows - first : BLOCK;
}

/* sum [rows_from()][columns] = dW, or W + dW */
static void read_rows(const struct module_update *u, size_t first, bool with_base, double *sum)
{
	const struct base_rows base = { read_base, u->base, u->columns };
	const size_t n = rows_from(u, first) * u->columns;

	for (size_t i = 0; i < n; i++)
		sum[i] = with_base ? u->base[first * u->columns + i] : 0;
	delta_add_rows(&u->delta, first, rows_from(u, first), sum, u->base ? &base : NULL);
}

/* row [columns], which is W + dW, becomes W' - W */
static void stretch_row(const struct module_update *u, size_t o, double *row)
{
	const size_t taps = (size_t)u->delta.w->kh * u->delta.w->kw;
	const float *base = u->base + o * u->columns;
	const double length = u->gain ? 0 : sqrt(vectors_dot(row, row, u->columns)) + lengths_eps(u->module);

	for (size_t j = 0; j < u->columns; j++)
		row[j] = (u->gain ? u->gain[j / taps] : u->lengths[o] / length) * row[j] - base[j];
}

/* sum [rows_from()][columns] = W' - W */
static void update_rows(const struct module_update *u, size_t first, double *sum)
{
	read_rows(u, first, has_lengths(u), sum);
	for (size_t i = 0; i < rows_from(u, first) && has_lengths(u); i++)
		stretch_row(u, first + i, sum + i * u->columns);
}

/* Of inputs: over all rows. */
static void measure_gains(struct module_update *u)
{
	const size_t in = u->delta.w->in, taps = u->columns / in;
	double *sum = xmalloc(BLOCK * u->columns * sizeof(*sum));

	u->gain = xcalloc(in, sizeof(*u->gain));
	for (size_t first = 0; first < u->rows; first += BLOCK) {
		read_rows(u, first, true, sum);
		for (size_t i = 0; i < rows_from(u, first) * u->columns; i++)
			u->gain[i % u->columns / taps] += sum[i] * sum[i];
	}
	for (size_t i = 0; i < in; i++)
		u->gain[i] = u->lengths[i] / (sqrt(u->gain[i]) + lengths_eps(u->module));
	free(sum);
}

/* ---- reading ---- */

static int read_parts(struct module_update *u, const struct adapter_file *a, struct error *e)
{
	const struct file_module *m = u->module;

	for (int i = 0; i < BRANCH_PARTS; i++)
		if (m->part[i] && !(u->delta.part[i] = adapter_file_floats(a, m->part[i], false, e)))
			return -1;
	delta_begin(&u->delta);
	return m->lengths && !(u->lengths = adapter_file_floats(a, m->lengths, false, e)) ? -1 : 0;
}

static int read_weight(struct module_update *u, const struct model_files *files, struct error *e)
{
	const struct layer *l = u->module->layer;
	char *name = xprintf("%s.weight", l->name);

	u->base = source_floats(files, l->component, name, u->rows * u->columns, e);
	free(name);
	return u->base ? 0 : -1;
}

int module_update_open(struct module_update *u, const struct adapter_file *a, const struct file_module *m,
		const struct model_files *base, struct error *e)
{
	const struct weight *w = layer_weight(m->layer);

	*u = (struct module_update){ .module = m, .delta = { .kind = m->kind, .form = &m->form, .w = w,
						      .scale = kind_scale(m->kind, &m->form, m->alpha) },
			      .rows = w->out, .columns = (size_t)w->in * w->kh * w->kw };
	if (read_parts(u, a, e) || (base && read_weight(u, base, e)))
		return -1;
	if (has_lengths(u) && m->by_input)
		measure_gains(u);
	return 0;
}

void module_update_close(struct module_update *u)
{
	delta_end(&u->delta);
	free(u->base);
	free(u->lengths);
	free(u->gain);
}

bool module_update_is_known(const struct module_update *u)
{
	return u->base || !u->delta.kind->needs_base;
}

/* ---- norms and products ---- */

double module_update_base_norm(const struct module_update *u)
{
	double sum = 0;

	for (size_t i = 0; i < u->rows * u->columns; i++)
		sum += (double)u->base[i] * u->base[i];
	return sqrt(sum);
}

static double dot_of_rows(const struct module_update *a, const struct module_update *b)
{
	double *x = xmalloc(2 * BLOCK * a->columns * sizeof(*x)), *y = a == b ? x : x + BLOCK * a->columns, sum = 0;

	for (size_t first = 0; first < a->rows; first += BLOCK) {
		update_rows(a, first, x);
		if (a != b)
			update_rows(b, first, y);
		sum += vectors_dot(x, y, rows_from(a, first) * a->columns);
	}
	free(x);
	return sum;
}

/* The file's own numbers are the factors, so that none is rounded: of a LoRA without a middle one. */
static bool is_two_factors(const struct module_update *u)
{
	int parts = 0;

	for (int i = 0; i < BRANCH_PARTS; i++)
		parts += u->delta.part[i] != NULL;
	return !has_lengths(u) && parts == 2 && !u->delta.kind->kronecker && delta_factors_rank(&u->delta);
}

/* With the scale left out, or it is rounded into one of them. */
static struct delta_factors factors_of(const struct module_update *u)
{
	struct delta plain = u->delta;
	struct delta_factors f;

	plain.scale = 1;
	delta_factors(&plain, &f);
	return f;
}

/* The sum over all pairs of ranks of (column of a's up . column of b's) (row of a's down . row of b's) */
static double dot_of_factors(const struct module_update *a, const struct module_update *b)
{
	struct delta_factors f = factors_of(a), g = factors_of(b);
	const size_t n = f.rank * g.rank;
	const struct matrix up = { f.up, NULL, 1, f.rank }, other_up = { g.up, NULL, g.rank, 1 },
			    down = { f.down, NULL, a->columns, 1 }, other_down = { g.down, NULL, 1, a->columns };
	double *ups = xcalloc(2 * n, sizeof(*ups)), *downs = ups + n, sum;

	product_add(ups, g.rank, 1, &up, &other_up, f.rank, g.rank, a->rows);
	product_add(downs, g.rank, 1, &down, &other_down, f.rank, g.rank, a->columns);
	sum = vectors_dot(ups, downs, n);
	free(ups);
	delta_factors_free(&f);
	delta_factors_free(&g);
	return a->delta.scale * b->delta.scale * sum;
}

double module_update_dot(const struct module_update *a, const struct module_update *b)
{
	return is_two_factors(a) && is_two_factors(b) ? dot_of_factors(a, b) : dot_of_rows(a, b);
}

double module_update_norm(const struct module_update *u)
{
	return has_lengths(u) || u->delta.kind->needs_base ? sqrt(dot_of_rows(u, u)) : delta_norm(&u->delta);
}

/* ---- singular values ---- */

static size_t shorter_side(const struct module_update *u)
{
	return u->rows < u->columns ? u->rows : u->columns;
}

static size_t values_of_rows(const struct module_update *u, double **value)
{
	double *a = xmalloc(u->rows * u->columns * sizeof(*a));

	*value = xmalloc(shorter_side(u) * sizeof(**value));
	for (size_t first = 0; first < u->rows; first += BLOCK)
		update_rows(u, first, a + first * u->columns);
	singular_values(a, u->rows, u->columns, *value);
	free(a);
	return shorter_side(u);
}

static size_t values_of_factors(const struct module_update *u, double **value)
{
	struct delta_factors f = factors_of(u);
	double *up = to_doubles(f.up, u->rows * f.rank), *down = to_doubles(f.down, f.rank * u->columns);
	const size_t n = f.rank;

	*value = xmalloc(n * sizeof(**value));
	svd_product(NULL, *value, NULL, up, down, (int)u->rows, (int)u->columns, (int)n);
	for (size_t i = 0; i < n; i++)
		(*value)[i] *= fabs(u->delta.scale);
	free(up);
	free(down);
	delta_factors_free(&f);
	return n;
}

static int by_size(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return x < y ? 1 : x > y ? -1 : 0;
}

static size_t values_of_half(const double *half, size_t rows, size_t columns, double **value)
{
	const size_t n = rows < columns ? rows : columns;
	double *a = xmalloc(rows * columns * sizeof(*a));

	memcpy(a, half, rows * columns * sizeof(*a));
	*value = xmalloc(n * sizeof(**value));
	singular_values(a, rows, columns, *value);
	free(a);
	return n;
}

/* Each value of the one with each of the other */
static size_t values_of_kronecker(const struct module_update *u, double **value)
{
	const struct delta_kronecker k = u->delta.kind->kronecker(&u->delta);
	double *one, *two;
	const size_t n = values_of_half(k.one, k.rows[0], k.columns[0], &one),
		     m = values_of_half(k.two, k.rows[1], k.columns[1], &two);

	*value = xmalloc(n * m * sizeof(**value));
	for (size_t i = 0; i < n * m; i++)
		(*value)[i] = fabs(u->delta.scale) * one[i / m] * two[i % m];
	qsort(*value, n * m, sizeof(**value), by_size);
	free(one);
	free(two);
	return n * m;
}

size_t module_update_values(const struct module_update *u, double **value)
{
	const size_t rank = has_lengths(u) ? 0 : delta_factors_rank(&u->delta);

	if (u->delta.kind->kronecker && !has_lengths(u))
		return values_of_kronecker(u, value);
	return rank && rank < shorter_side(u) ? values_of_factors(u, value) : values_of_rows(u, value);
}
