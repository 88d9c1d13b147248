/* Operations that move or broadcast rows: copies, sums per sample, upsampling, embedding, gather. */
#include <string.h>
#include "internal.h"

/* The arguments of a loop over rows of c floats; each uses those it needs. */
struct move {
	int rows, c;
	float *y;
	const float *x, *v;
	int h, w, hw;
	int ldx, ldy, add;
	bool shared;
	const struct weight *table;
	const int32_t *index;
};

static void run_rows(struct device *d, task_fn *f, const struct move *m)
{
	run_tasks(d, row_tasks(m->rows, m->c), (double)m->rows * m->c / 2, f, m);
}

/* The head of every task here: loops over its rows r. */
#define EACH_ROW(m, task) \
	const struct rows part = rows_of_task(task, (m)->rows, (m)->c); \
	for (int r = part.first; r < part.last; r++)

static void add_per_sample_task(struct device *d, const void *arg, int task, int thread)
{
	const struct move *m = arg;
	const size_t c = m->c;

	EACH_ROW(m, task)
		d->k->add(m->y + r * c, m->x + r * c, m->v + r / m->hw * c, c);
}

void cpu_add_per_sample(struct device *d, struct values yv, struct values xv, struct values vv, int n, int hw, int c)
{
	float *y = floats_at(yv);
	const float *x = floats_at(xv);
	const float *v = floats_at(vv);

	run_rows(d, add_per_sample_task, &(struct move){ .rows = n * hw, .c = c, .y = y, .x = x, .v = v, .hw = hw });
}

static void multiply_task(struct device *d, const void *arg, int task, int thread)
{
	const struct move *m = arg;
	const size_t c = m->c;

	EACH_ROW(m, task)
		d->k->multiply(m->y + r * c, m->x + r * c, m->v + (m->shared ? 0 : r * c), c);
}

void cpu_multiply(struct device *d, struct values yv, struct values xv, struct values zv, int rows, int c, bool shared)
{
	float *y = floats_at(yv);
	const float *x = floats_at(xv);
	const float *z = floats_at(zv);

	run_rows(d, multiply_task, &(struct move){ .rows = rows, .c = c, .y = y, .x = x, .v = z, .shared = shared });
}

static void copy_columns_task(struct device *d, const void *arg, int task, int thread)
{
	const struct move *m = arg;

	EACH_ROW(m, task)
		d->k->axpby(m->y + (size_t)r * m->ldy, 1, m->x + (size_t)r * m->ldx, m->add, m->c);
}

void cpu_copy_columns(struct device *d, struct values yv, int ldy, struct values xv, int ldx, int rows, int cols,
		      int add)
{
	float *y = floats_at(yv);
	const float *x = floats_at(xv);

	run_rows(d, copy_columns_task, &(struct move){ .rows = rows, .c = cols, .y = y, .x = x, .ldx = ldx, .ldy = ldy,
						       .add = add });
}

static void upsample_task(struct device *d, const void *arg, int task, int thread)
{
	const struct move *m = arg;
	const int h = m->h, w = m->w;

	EACH_ROW(m, task) {
		size_t from = (size_t)(r / (4 * h * w)) * h * w + (size_t)(r / (2 * w) % (2 * h) / 2) * w +
			r % (2 * w) / 2;

		memcpy(m->y + (size_t)r * m->c, m->x + from * m->c, m->c * sizeof(*m->y));
	}
}

void cpu_upsample(struct device *d, struct values yv, struct values xv, int n, int h, int w, int c)
{
	float *y = floats_at(yv);
	const float *x = floats_at(xv);

	run_rows(d, upsample_task, &(struct move){ .rows = n * 2 * h * 2 * w, .c = c, .y = y, .x = x, .h = h, .w = w });
}

/* backward of y = each pixel four times:  dx = the sum of the four */
static void upsample_back_task(struct device *d, const void *arg, int task, int thread)
{
	const struct move *m = arg;
	const int w = m->w, c = m->c;

	EACH_ROW(m, task) {
		const float *top = m->x + ((size_t)(r / w) * 4 * w + r % w * 2) * c, *bottom = top + (size_t)2 * w * c;
		float *to = m->y + (size_t)r * c;

		d->k->axpby(to, 1, top, m->add, c);
		d->k->add(to, to, top + c, c);
		d->k->add(to, to, bottom, c);
		d->k->add(to, to, bottom + c, c);
	}
}

void cpu_upsample_back(struct device *d, struct values dxv, struct values dyv, int n, int h, int w, int c, int add)
{
	float *dx = floats_at(dxv);
	const float *dy = floats_at(dyv);

	run_rows(d, upsample_back_task, &(struct move){ .rows = n * h * w, .c = c, .y = dx, .x = dy, .w = w,
							.add = add });
}

static void embedding_task(struct device *d, const void *arg, int task, int thread)
{
	const struct move *m = arg;
	const size_t c = m->c;

	EACH_ROW(m, task)
		widen_weight(d->k, m->y + r * c, m->table, m->index[r] * c, c);
}

void cpu_embedding(struct device *d, float *y, const struct weight *table, const int32_t *ids, int rows)
{
	run_rows(d, embedding_task, &(struct move){ .rows = rows, .c = table->in, .y = y, .table = table,
						    .index = ids });
}

static void gather_rows_task(struct device *d, const void *arg, int task, int thread)
{
	const struct move *m = arg;
	const size_t c = m->c;

	EACH_ROW(m, task)
		memcpy(m->y + r * c, m->x + m->index[r] * c, c * sizeof(*m->y));
}

void cpu_gather_rows(struct device *d, struct values yv, struct values xv, const int32_t *index, int rows, int c)
{
	float *y = floats_at(yv);
	const float *x = floats_at(xv);

	run_rows(d, gather_rows_task, &(struct move){ .rows = rows, .c = c, .y = y, .x = x, .index = index });
}

/* One thread: an index may come twice. */
void cpu_gather_rows_back(struct device *d, struct values dxv, struct values dyv, const int32_t *index, int rows, int c)
{
	float *dx = floats_at(dxv);
	const float *dy = floats_at(dyv);
	int r;

	for (r = 0; r < rows; r++)
		d->k->axpby(dx + (size_t)index[r] * c, 1, dy + (size_t)r * c, 1, c);
}
