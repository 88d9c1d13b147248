/* Activations, GEGLU and their backward, over threads. */
#include "internal.h"

/* The arguments of an elementwise loop; each uses those it needs. */
struct span {
	size_t n;
	float *y;
	const float *x, *z;
	enum activation kind;
	int add;
	float a, b;
};

static void activation_task(struct device *d, const void *arg, int task, int thread)
{
	const struct span *s = arg;
	const size_t at = (size_t)task * CHUNK;

	d->k->activation(s->y + at, s->x + at, chunk_length(s->n, at), s->kind);
}

void cpu_activation(struct device *d, struct values yv, struct values xv, size_t n, enum activation kind)
{
	float *y = floats_at(yv);
	const float *x = floats_at(xv);

	run_tasks(d, chunks_of(n), 2.0 * n, activation_task, &(struct span){ .n = n, .y = y, .x = x, .kind = kind });
}

static void activation_back_task(struct device *d, const void *arg, int task, int thread)
{
	const struct span *s = arg;
	const size_t at = (size_t)task * CHUNK;

	d->k->activation_back(s->y + at, s->z + at, s->x + at, chunk_length(s->n, at), s->kind, s->add);
}

void cpu_activation_back(struct device *d, struct values dxv, struct values dyv, struct values xv, size_t n,
			 enum activation kind, int add)
{
	float *dx = floats_at(dxv);
	const float *dy = floats_at(dyv);
	const float *x = floats_at(xv);
	const struct span s = { .n = n, .y = dx, .z = dy, .x = x, .kind = kind, .add = add };

	run_tasks(d, chunks_of(n), 3.0 * n, activation_back_task, &s);
}

static void axpby_task(struct device *d, const void *arg, int task, int thread)
{
	const struct span *s = arg;
	const size_t at = (size_t)task * CHUNK;

	d->k->axpby(s->y + at, s->a, s->x + at, s->b, chunk_length(s->n, at));
}

void cpu_axpby(struct device *d, struct values yv, float a, struct values xv, float b, size_t n)
{
	float *y = floats_at(yv);
	const float *x = floats_at(xv);

	run_tasks(d, chunks_of(n), n / 2.0, axpby_task, &(struct span){ .n = n, .y = y, .x = x, .a = a, .b = b });
}

struct quotient { float *y, a; const float *x, *v; float eps, b; size_t n; };

static void over_root_task(struct device *d, const void *arg, int task, int thread)
{
	const struct quotient *q = arg;
	const size_t at = (size_t)task * CHUNK;

	d->k->over_root(q->y + at, q->a, q->x + at, q->v + at, q->eps, q->b, chunk_length(q->n, at));
}

void cpu_over_root(struct device *d, float *y, float a, const float *x, const float *v, float eps, float b, size_t n)
{
	const struct quotient q = { y, a, x, v, eps, b, n };

	run_tasks(d, chunks_of(n), 4.0 * n, over_root_task, &q);
}

static void add_task(struct device *d, const void *arg, int task, int thread)
{
	const struct span *s = arg;
	const size_t at = (size_t)task * CHUNK;

	d->k->add(s->y + at, s->x + at, s->z + at, chunk_length(s->n, at));
}

void cpu_add(struct device *d, struct values yv, struct values xv, struct values zv, size_t n)
{
	float *y = floats_at(yv);
	const float *x = floats_at(xv);
	const float *z = floats_at(zv);

	run_tasks(d, chunks_of(n), n / 2.0, add_task, &(struct span){ .n = n, .y = y, .x = x, .z = z });
}

struct gated { int rows, c, add; float *y; const float *x, *dy; };

static void geglu_task(struct device *d, const void *arg, int task, int thread)
{
	const struct gated *g = arg;
	const struct rows part = rows_of_task(task, g->rows, g->c);
	int r;

	for (r = part.first; r < part.last; r++) {
		const float *row = g->x + (size_t)r * 2 * g->c;

		d->k->geglu(g->y + (size_t)r * g->c, row, row + g->c, g->c);
	}
}

void cpu_geglu(struct device *d, struct values yv, struct values xv, int rows, int c)
{
	float *y = floats_at(yv);
	const float *x = floats_at(xv);

	run_tasks(d, row_tasks(rows, c), 3.0 * rows * c, geglu_task, &(struct gated){ rows, c, 0, y, x, NULL });
}

/* backward of y = a gelu(b), x = [a b]:  da = dy gelu(b);  db = dy a gelu'(b) */
static void geglu_back_task(struct device *d, const void *arg, int task, int thread)
{
	const struct gated *g = arg;
	const struct rows part = rows_of_task(task, g->rows, g->c);
	int r;

	for (r = part.first; r < part.last; r++) {
		const float *row = g->x + (size_t)r * 2 * g->c;
		float *to = g->y + (size_t)r * 2 * g->c;

		d->k->geglu_back(to, to + g->c, g->dy + (size_t)r * g->c, row, row + g->c, g->c, g->add);
	}
}

void cpu_geglu_back(struct device *d, struct values dxv, struct values dyv, struct values xv, int rows, int c, int add)
{
	float *dx = floats_at(dxv);
	const float *dy = floats_at(dyv);
	const float *x = floats_at(xv);

	run_tasks(d, row_tasks(rows, c), 4.0 * rows * c, geglu_back_task, &(struct gated){ rows, c, add, dx, x, dy });
}
