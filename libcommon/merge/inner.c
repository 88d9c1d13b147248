/* Inner products of updates. */
#include <stdlib.h>
#include <string.h>
#include "../adapter/full.h"
#include "../adapter/lora.h"
#include "../base/linalg.h"
#include "../base/memory.h"
#include "inner.h"
#include "whole_update.h"

/* One term's numbers: of a LoRA its factors in double, else what its rows are made of. */
struct side {
	const struct term *term;
	struct delta delta;             /* at weight 1 */
	double *up, *down;              /* [out,rank], [rank,in*kh*kw] */
	double *whole;                  /* an update that is made of the model's weights */
};

static bool changes_weight(const struct file_module *m)
{
	return m->kind != &kind_full || m->part[FULL_DIFF];
}

static bool is_plain(const struct file_module *m)
{
	return m->kind == &kind_lora && !m->part[LORA_MID] && !m->lengths;
}

/* ---- small products ---- */

static void widen_factors(struct side *s)
{
	const struct weight *w = s->delta.w;
	const size_t r = s->delta.form->rank;

	s->up = to_doubles(s->delta.part[LORA_UP], r * w->out);
	s->down = to_doubles(s->delta.part[LORA_DOWN], r * w->in * w->kh * w->kw);
}

static double small_product(const struct side *a, const struct side *b)
{
	const struct weight *w = a->delta.w;
	const int r = a->delta.form->rank, q = b->delta.form->rank;
	double *ups = xmalloc((size_t)r * q * sizeof(*ups)), *downs = xmalloc((size_t)r * q * sizeof(*downs)), sum = 0;

	matrix_product_ta(ups, a->up, b->up, r, q, w->out);
	matrix_product_tb(downs, a->down, b->down, r, q, w->in * w->kh * w->kw);
	for (size_t i = 0; i < (size_t)r * q; i++)
		sum += ups[i] * downs[i];
	free(ups);
	free(downs);
	return sum * a->delta.scale * b->delta.scale;
}

/* ---- rows ---- */

enum { BAND = 32 };

static void fill_band(double *band, const struct side *s, size_t row, size_t rows, size_t columns)
{
	for (size_t i = 0; i < rows * columns; i++)
		band[i] = s->whole ? s->whole[row * columns + i] : 0;
	if (!s->whole)
		delta_add_rows(&s->delta, row, rows, band, NULL);
}

static void add_rows(double *gram, const struct side *side, size_t n)
{
	const struct weight *w = side->delta.w;
	const size_t columns = (size_t)w->in * w->kh * w->kw;
	double *band = xmalloc(n * BAND * columns * sizeof(*band));

	for (size_t row = 0; row < (size_t)w->out; row += BAND) {
		const size_t rows = row + BAND > (size_t)w->out ? w->out - row : BAND;

		for (size_t i = 0; i < n; i++)
			fill_band(band + i * BAND * columns, &side[i], row, rows, columns);
		for (size_t i = 0; i < n; i++)
			for (size_t j = i; j < n; j++)
				for (size_t k = 0; k < rows * columns; k++)
					gram[i * n + j] += band[i * BAND * columns + k] * band[j * BAND * columns + k];
	}
	free(band);
}

/* ---- a layer ---- */

static int read_side(struct side *s, const struct inputs *in, const struct term *t, bool plain, struct error *e)
{
	const struct adapter_file *a = in->item[t->input].file;

	s->term = t;
	if (file_module_delta(&s->delta, a, t->module, e))
		return -1;
	if (plain)
		widen_factors(s);
	return update_needs_base(t->module) ? whole_update_exact(&s->whole, a, t->module, in->files, e) : 0;
}

static void free_side(struct side *s)
{
	if (s->delta.kind)
		delta_end(&s->delta);
	free(s->up);
	free(s->down);
	free(s->whole);
}

static int check_shape(const struct inputs *in, const struct term *a, const struct term *b, struct error *e)
{
	const struct weight *x = layer_weight(a->module->layer), *y = layer_weight(b->module->layer);

	if (x->out == y->out && x->in == y->in && x->kh == y->kh && x->kw == y->kw)
		return 0;
	return fail(e, EXIT_INPUT, "%s: '%.200s' has another shape than the same layer in %s; they are for different "
				   "models", in->item[b->input].file->file->path, b->module->name,
		    in->item[a->input].file->file->path);
}

/* Each product once, and the other half. */
static void fill_gram(double *gram, const struct side *side, size_t n, bool plain)
{
	if (!plain)
		add_rows(gram, side, n);
	for (size_t i = 0; i < n; i++)
		for (size_t j = i; j < n; j++) {
			if (plain)
				gram[i * n + j] = small_product(&side[i], &side[j]);
			gram[i * n + j] *= side[i].term->weight * side[j].term->weight;
			gram[j * n + i] = gram[i * n + j];
		}
}

/* Those that change the weight: gram [n,n] of their sides, in their order. */
static int measure(double *gram, struct side *side, const struct inputs *in, const struct term *const *term, size_t n,
		   struct error *e)
{
	bool plain = true;

	/* without a model a module that turns its weights shows one side of them alone */
	for (size_t i = 0; i < n; i++) {
		plain &= is_plain(term[i]->module);
		if (update_check_base(in->item[term[i]->input].file, term[i]->module, in->files, e))
			return -1;
	}
	for (size_t i = 0; i < n; i++)
		if (check_shape(in, term[0], term[i], e) || read_side(&side[i], in, term[i], plain, e))
			return -1;
	if (n)
		fill_gram(gram, side, n, plain);
	return 0;
}

/* A bias alone is no update of the weight: its row and column stay 0, and the others are what they are. */
int inner_products(double *gram, const struct inputs *in, const struct term *term, size_t n, struct error *e)
{
	struct side *side = xcalloc(n, sizeof(*side));
	const struct term **weight = xcalloc(n, sizeof(*weight));
	double *own = xcalloc(n * n, sizeof(*own));
	size_t weights = 0;
	int status;

	memset(gram, 0, n * n * sizeof(*gram));
	for (size_t i = 0; i < n; i++)
		if (changes_weight(term[i].module))
			weight[weights++] = &term[i];
	status = measure(own, side, in, weight, weights, e);
	for (size_t i = 0; i < weights; i++)
		for (size_t j = 0; j < weights; j++)
			gram[(weight[i] - term) * n + (weight[j] - term)] = own[i * weights + j];
	for (size_t i = 0; i < weights; i++)
		free_side(&side[i]);
	free(side);
	free(weight);
	free(own);
	return status;
}
