/*
 * narrow_grads.c - gradients of the two factors of a narrow product beside a layer.
 *
 * dup = dy^T z has as few columns as the rank: a tile of it would fill half of its registers, and read dy across its
 * rows, each number from another line.  z^T dy, the same turned round, reads both along their rows and takes a third to
 * two thirds of the time; every element is the same sum in the same order.
 */
#include <string.h>
#include "internal.h"

/* Rows of dup that are turned at once: 32 KB. */
enum { TURNED = 256 };

struct turning { const float *from; float *to; int rows, cols; };

/* [rows,cols] -> [cols,rows], some of the columns */
static void turn_task(struct device *d, const void *arg, int task, int thread)
{
	const struct turning *t = arg;
	const int first = task * TURNED, n = smaller(TURNED, t->cols - first), nr = d->k->nr;
	float *panel = thread_scratch(d, thread, floats(panel_floats(d->k, nr, TURNED)));
	int at, i;

	for (at = 0; at < t->rows; at += nr) {
		const int some = smaller(nr, t->rows - at);

		pack_transposed(d->k, panel, t->from + (size_t)at * t->cols + first, t->cols, some, n);
		for (i = 0; i < n; i++)
			memcpy(t->to + (size_t)(first + i) * t->rows + at, panel + (size_t)i * nr,
			       some * sizeof(*panel));
	}
}

static void turn(struct device *d, float *to, const float *from, int rows, int cols)
{
	const struct turning t = { from, to, rows, cols };

	run_tasks(d, (cols + TURNED - 1) / TURNED, (double)rows * cols, turn_task, &t);
}

static void up_grad(struct device *d, const struct narrow_grads *g)
{
	float *turned = caller_scratch(d, (size_t)g->out * g->rank * sizeof(*turned));

	if (g->add_up)
		turn(d, turned, g->dup, g->out, g->rank);
	cpu_gemm(d, 1, 0, g->rank, g->out, g->rows, g->scale, f32(g->z), g->rank, g->dy, g->ldy, g->add_up,
		 f32(turned), g->out);
	turn(d, g->dup, turned, g->rank, g->out);
}

void cpu_narrow_grads(struct device *d, const struct stacked_grads *all)
{
	for (const struct narrow_grads *g = all->of; g < all->of + all->count; g++) {
		if (g->dup)
			up_grad(d, g);
		if (g->ddown)
			cpu_gemm(d, 1, 0, g->rank, g->in, g->rows, 1, f32(g->dz), g->rank, g->x, g->in, g->add_down,
				 f32(g->ddown), g->in);
	}
}
