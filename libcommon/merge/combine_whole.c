/* The sum of updates that are no products of thin matrices, as the nearest LoRA of a rank. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../adapter/lowrank.h"
#include "../base/memory.h"
#include "combine.h"
#include "factored.h"
#include "whole_update.h"

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Of singular values, each with its root on both sides. */
static struct factored factored_of(const struct lowrank *l, size_t rank)
{
	struct factored f = factored_new(l->rows, l->columns, rank, 1);

	for (size_t k = 0; k < smaller(rank, l->known); k++) {
		const double root = sqrt(l->value[k]);

		for (size_t i = 0; i < l->rows; i++)
			f.up[i * rank + k] = root * l->left[i * l->known + k];
		for (size_t j = 0; j < l->columns; j++)
			f.down[k * l->columns + j] = root * l->right[k * l->columns + j];
	}
	return f;
}

void combined_nearest(struct combined *c, const struct layer *layer, const float *dw, size_t rank, enum dtype type)
{
	const struct weight *w = layer_weight(layer);
	const size_t columns = (size_t)w->in * w->kh * w->kw, kept = smaller(rank, smaller(w->out, columns));
	double squares = 0, lost;
	struct factored f;
	struct lowrank l;

	lowrank_of_matrix(&l, dw, w->out, columns, kept);
	f = factored_of(&l, kept);
	for (size_t k = 0; k < smaller(kept, l.known); k++)
		squares += l.value[k] * l.value[k];
	c->how = COMBINED_LORA;
	c->lora = (struct output_lora){ layer, (int)kept, (double)kept };
	lost = factored_round(&f, type, &c->lora.up, &c->lora.down);
	c->update = sqrt(l.squares);
	c->lost = hypot(lost, sqrt(fmax(l.squares - squares, 0)));
	factored_free(&f);
	lowrank_free(&l);
}

/* sum [elements] += the term's update */
static int add_update(double *sum, const struct combining *how, const struct term *t, size_t elements,
		      struct error *e)
{
	float *dw;

	if (whole_update(&dw, how->in->item[t->input].file, t->module, how->in->files, e))
		return -1;
	for (size_t i = 0; i < elements; i++)
		sum[i] += t->weight * dw[i];
	free(dw);
	return 0;
}

int combine_whole(struct combined *c, const struct combining *how, const struct term *term, size_t n,
		  struct error *e)
{
	const struct weight *w = layer_weight(term->module->layer);
	const size_t elements = (size_t)w->out * w->in * w->kh * w->kw;
	double *sum = xcalloc(elements + 1, sizeof(*sum));
	float *dw = NULL;
	int status = 0;

	for (size_t i = 0; i < n && !status; i++)
		status = add_update(sum, how, &term[i], elements, e);
	if (!status) {
		dw = xmalloc((elements + 1) * sizeof(*dw));
		for (size_t i = 0; i < elements; i++)
			dw[i] = (float)sum[i];
		combined_nearest(c, term->module->layer, dw, (size_t)how->rank, how->type);
	}
	free(sum);
	free(dw);
	return status;
}
