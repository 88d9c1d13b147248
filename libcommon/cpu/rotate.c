/*
 * rotate.c - rows multiplied by small rotations, one for each block of channels, which are made in double;
 * and backward.
 */
#include <string.h>
#include "internal.h"

/* The size from which on a block is worth a matrix product of its own. */
enum { WIDE = 32 };

struct turn {
	const struct rotations *s;
	const float *b, *x, *dy, *r;
	float *y, *matrix;              /* matrix: R, dR or dA, [blocks,size,size] */
	int rows, add;
	bool back;                      /* by the transposed rotations */
	struct rotation_limit limit;
};

static size_t square(const struct rotations *s)
{
	return (size_t)s->size * s->size;
}

static size_t width(const struct rotations *s)
{
	return (size_t)s->blocks * s->size;
}

/* ---- the matrices ---- */

static void matrix_task(struct device *d, const void *arg, int task, int thread)
{
	const struct turn *t = arg;
	const size_t n = square(t->s);
	double *a = thread_scratch(d, thread, 3 * n * sizeof(*a)), *r = a + n;

	rotation_skew(t->s, a, t->b, t->limit.factor, task);
	rotation_matrix(t->s, r, a, r + n);
	for (size_t i = 0; i < n; i++)
		t->matrix[task * n + i] = (float)r[i];
}

/* matrix: dR, which becomes dA */
static void matrix_back_task(struct device *d, const void *arg, int task, int thread)
{
	const struct turn *t = arg;
	const size_t n = square(t->s);
	double *a = thread_scratch(d, thread, 7 * n * sizeof(*a)), *r = a + n, *dr = r + n, *da = dr + n;
	float *matrix = t->matrix + task * n;

	rotation_skew(t->s, a, t->b, t->limit.factor, task);
	for (size_t i = 0; i < n; i++) {
		r[i] = t->r[task * n + i];
		dr[i] = matrix[i];
	}
	rotation_matrix_back(t->s, da, dr, a, r, da + n);
	for (size_t i = 0; i < n; i++)
		matrix[i] = (float)da[i];
}

/* ---- rows times matrices ---- */

static void turn_block(float *y, const float *x, const float *r, int n, bool back, int add)
{
	if (!add)
		memset(y, 0, n * sizeof(*y));
	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
			y[j] += x[i] * (back ? r[j * n + i] : r[i * n + j]);
}

static void turn_task(struct device *d, const void *arg, int task, int thread)
{
	const struct turn *t = arg;
	const size_t c = width(t->s), n = t->s->size;
	const struct rows part = rows_of_task(task, t->rows, c);

	for (size_t row = part.first; row < (size_t)part.last; row++)
		for (size_t k = 0; k < (size_t)t->s->blocks; k++)
			turn_block(t->y + row * c + k * n, t->x + row * c + k * n, t->r + k * n * n, n, t->back,
				   t->add);
}

static void turn_rows(struct device *d, const struct turn *t)
{
	const int n = t->s->size, c = width(t->s);

	if (n < WIDE)
		run_tasks(d, row_tasks(t->rows, c), (double)t->rows * c * n, turn_task, t);
	else
		for (int k = 0; k < t->s->blocks; k++)
			cpu_gemm(d, 0, t->back, t->rows, n, n, 1, f32(t->x + k * n), c, f32(t->r + k * square(t->s)), n,
				 t->add, f32(t->y + k * n), c);
}

/* dR = x^T dy of a block, in double */
static void gather_task(struct device *d, const void *arg, int task, int thread)
{
	const struct turn *t = arg;
	const size_t n = t->s->size, c = width(t->s);
	const float *x = t->x + task * n, *dy = t->dy + task * n;
	double *sum = thread_scratch(d, thread, n * n * sizeof(*sum));

	memset(sum, 0, n * n * sizeof(*sum));
	for (int row = 0; row < t->rows; row++, x += c, dy += c)
		for (size_t i = 0; i < n; i++)
			for (size_t j = 0; j < n; j++)
				sum[i * n + j] += (double)x[i] * dy[j];
	for (size_t i = 0; i < n * n; i++)
		t->matrix[task * n * n + i] = (float)sum[i];
}

static void gather_rotations(struct device *d, const struct turn *t)
{
	const int n = t->s->size, c = width(t->s);

	if (n < WIDE)
		run_tasks(d, t->s->blocks, (double)t->rows * c * n, gather_task, t);
	else
		for (int k = 0; k < t->s->blocks; k++)
			cpu_gemm(d, 1, 0, n, n, t->rows, 1, f32(t->x + k * n), c, f32(t->dy + k * n), c, 0,
				 f32(t->matrix + k * square(t->s)), n);
}

/* ---- numbers ---- */

/* The skew part of dA, by which the numbers of A move. */
static double skew_part(const float *da, size_t n, size_t i, size_t j)
{
	return (double)da[i * n + j] - da[j * n + i];
}

/* backward of A = c A0 / |A0|:  dA0 = c/|A0| (dA - A0 <A0, dA> / |A0|^2); here <A0, dA> / |A0|^2 */
static double along_skew(struct device *d, const struct turn *t)
{
	const size_t n = t->s->size;
	double *a, sum = 0;

	if (t->limit.factor == 1)
		return 0;
	a = caller_scratch(d, n * n * sizeof(*a));
	for (int k = 0; k < t->s->blocks; k++) {
		rotation_skew(t->s, a, t->b, 1, k);
		for (size_t i = 0; i < n * n; i++)
			sum += a[i] * t->matrix[k * n * n + i];
	}
	return t->limit.norm > 0 ? sum / (t->limit.norm * t->limit.norm) : 0;
}

/* db from dA */
static void numbers_back(struct device *d, float *db, const struct turn *t, int add)
{
	const size_t n = t->s->size;
	const double along = along_skew(d, t), sign = t->s->inverse ? -1 : 1;
	double *a = caller_scratch(d, n * n * sizeof(*a));

	for (int k = 0; k < t->s->blocks; k++) {
		rotation_skew(t->s, a, t->b, 1, k);
		for (size_t i = 0; i < n; i++)
			for (size_t j = t->s->triangle ? i + 1 : 0; j < n; j++, db++) {
				const double own = skew_part(t->matrix + k * n * n, n, i, j) - 2 * along * a[i * n + j];

				*db = (float)(sign * t->limit.factor * own) + (add ? *db : 0);
			}
	}
}

/* ---- forward and backward ---- */

void cpu_rotate(struct device *d, struct values yv, float *r, float *room, struct values xv, const float *b, int rows,
		const struct rotations *s)
{
	float *y = floats_at(yv);
	const float *x = floats_at(xv);
	struct turn t = {
		.s = s, .b = b, .x = x, .y = y, .r = r, .matrix = r, .rows = rows, .limit = rotation_limit(s, b)
	};

	run_tasks(d, s->blocks, (double)rotation_elements(s) * s->size, matrix_task, &t);
	if (y)
		turn_rows(d, &t);
}

void cpu_rotate_back(struct device *d, struct values dxv, float *db, float *room, struct values dyv, struct values xv,
		     const float *b, const float *r, int rows, const struct rotations *s, const int add[2])
{
	float *dx = floats_at(dxv);
	const float *dy = floats_at(dyv);
	const float *x = floats_at(xv);
	struct turn t = {
		.s = s, .b = b, .x = dy, .y = dx, .r = r, .matrix = room, .rows = rows, .add = add[0], .back = true
	};

	if (dx)
		turn_rows(d, &t);
	if (!db)
		return;
	t.x = x;
	t.dy = dy;
	t.limit = rotation_limit(s, b);
	gather_rotations(d, &t);
	run_tasks(d, s->blocks, (double)rotation_elements(s) * s->size, matrix_back_task, &t);
	numbers_back(d, db, &t, add[1]);
}
