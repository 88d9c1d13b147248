/* A DoRA's lengths of the other side. */
#include <math.h>
#include <stdlib.h>
#include "../adapter/module_update.h"
#include "../base/memory.h"
#include "lengths_turned.h"
#include "whole_update.h"

/* Of all weights, what lengths that are rounded to floats can give back. */
#define SAME 0x1p-22

/* W' is what the layer has with the adapter, and v = W + dW what lengths multiply. */
struct turning {
	const float *base, *update, *delta;
	size_t rows, columns, taps;     /* taps: elements of a row that share a length; 0: a row has one */
	size_t lines;
};

static size_t line_of(const struct turning *t, size_t row, size_t column)
{
	return t->taps ? column / t->taps : row;
}

/* The best gain of each line, by least squares. */
static void find_gains(const struct turning *t, double *products, double *squares)
{
	for (size_t i = 0; i < t->rows * t->columns; i++) {
		const size_t k = line_of(t, i / t->columns, i % t->columns);
		const double v = (double)t->base[i] + t->delta[i];

		products[k] += v * ((double)t->base[i] + t->update[i]);
		squares[k] += v * v;
	}
	for (size_t k = 0; k < t->lines; k++)
		products[k] = squares[k] > 0 ? products[k] / squares[k] : 0;
}

static bool is_same(const struct turning *t, const double *gain)
{
	double error = 0, size = 0;

	for (size_t i = 0; i < t->rows * t->columns; i++) {
		const size_t k = line_of(t, i / t->columns, i % t->columns);
		const double want = (double)t->base[i] + t->update[i],
			     got = gain[k] * ((double)t->base[i] + t->delta[i]);

		error += (got - want) * (got - want);
		size += want * want;
	}
	return sqrt(error) <= SAME * sqrt(size);
}

static float *turn(const struct turning *t)
{
	double *gain = xcalloc(t->lines + 1, sizeof(*gain)), *squares = xcalloc(t->lines + 1, sizeof(*squares));
	float *lengths = NULL;

	find_gains(t, gain, squares);
	if (is_same(t, gain)) {
		lengths = xmalloc((t->lines + 1) * sizeof(*lengths));
		for (size_t k = 0; k < t->lines; k++)
			lengths[k] = (float)(gain[k] * sqrt(squares[k]));
	}
	free(gain);
	free(squares);
	return lengths;
}

int lengths_turned(float **lengths, const struct adapter_file *a, const struct file_module *m,
		   struct model_files *files, struct error *e)
{
	const struct weight *w = layer_weight(m->layer);
	struct turning t = { .rows = w->out, .columns = (size_t)w->in * w->kh * w->kw,
			     .taps = m->by_input ? 0 : (size_t)w->kh * w->kw, .lines = m->by_input ? w->out : w->in };
	struct file_module plain = *m;
	struct module_update whole = { 0 };
	float *update = NULL, *delta = NULL;
	int status = module_update_open(&whole, a, m, files, e);

	plain.lengths = NULL;
	*lengths = NULL;
	if (!status && (status = whole_update(&update, a, m, files, e)))
		update = NULL;
	if (!status && (status = whole_update(&delta, a, &plain, files, e)))
		delta = NULL;
	if (!status) {
		t.base = whole.base;
		t.update = update;
		t.delta = delta;
		*lengths = turn(&t);
	}
	module_update_close(&whole);
	free(update);
	free(delta);
	return status;
}
