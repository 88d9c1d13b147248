/* The sum of several adapters' updates by a method that leaves a part of them out, as the nearest LoRA. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../adapter/keys.h"
#include "../base/hash.h"
#include "../base/memory.h"
#include "combine.h"
#include "whole_update.h"

/* What --rank says, else the greatest of the modules' own; the layer's where they have none. */
static size_t rank_wanted(const struct combining *how, const struct term *term, size_t n)
{
	int rank = 0;

	for (size_t i = 0; i < n; i++)
		rank = term[i].module->form.rank > rank ? term[i].module->form.rank : rank;
	return how->rank ? (size_t)how->rank : rank ? (size_t)rank : SIZE_MAX;
}

/* Which of an update's elements stay is a function of the seed, the adapter's number and the layer's name. */
static struct random draw_of(const struct combining *how, const struct term *t)
{
	char *stem = kohya_stem(t->module->layer, &how->in->item[t->input].file->blocks);
	const struct random draw = { how->seed, RANDOM_DARE, (uint32_t)t->input, crc32c(0, stem, strlen(stem)) };

	free(stem);
	return draw;
}

/* Sums the updates into the first of them. */
static int add_updates(float **x, const struct combining *how, const struct term *term, size_t n, size_t elements,
		       struct error *e)
{
	double *weight = xcalloc(n, sizeof(*weight));
	int status = 0;

	for (size_t i = 0; i < n && !status; i++) {
		const struct random draw = draw_of(how, &term[i]);

		weight[i] = term[i].weight;
		status = whole_update(&x[i], how->in->item[term[i].input].file, term[i].module, how->in->files, e);
		if (!status)
			method_thin(how->method, x[i], elements, how->density, &draw);
	}
	if (!status)
		method_add(how->method, x[0], (const float *const *)x, weight, n, elements);
	free(weight);
	return status;
}

int combine_by_method(struct combined *c, const struct combining *how, const struct term *term, size_t n,
		      struct error *e)
{
	const struct layer *layer = term->module->layer;
	const struct weight *w = layer_weight(layer);
	float **x = xcalloc(n, sizeof(*x));
	int status = add_updates(x, how, term, n, (size_t)w->out * w->in * w->kh * w->kw, e);

	if (!status)
		combined_nearest(c, layer, x[0], rank_wanted(how, term, n), how->type);
	for (size_t i = 0; i < n; i++)
		free(x[i]);
	free(x);
	return status;
}
