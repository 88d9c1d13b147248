/* The sum of several adapters' updates of one layer. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../adapter/full.h"
#include "../adapter/lora.h"
#include "../base/memory.h"
#include "alpha_types.h"
#include "combine.h"
#include "factored.h"
#include "whole_update.h"

/* One layer's terms, those that are the same module taken together. */
struct sum {
	const struct combining *how;
	const struct layer *layer;
	struct term *term;
	size_t count;
	size_t rows, columns;
};

static const struct adapter_file *file_of(const struct sum *s, const struct term *t)
{
	return s->how->in->item[t->input].file;
}

static int refuse(const struct sum *s, const struct term *t, const char *why, const char *advice, struct error *e)
{
	return fail(e, EXIT_INPUT, "%s: '%.200s' %s; %s", file_of(s, t)->file->path, t->module->name, why, advice);
}

/* ---- terms ---- */

static bool same_tensor(const struct adapter_file *a, const struct safetensor *x, const struct adapter_file *b,
			const struct safetensor *y)
{
	if (!x || !y)
		return x == y;
	return x->dtype == y->dtype && x->bytes == y->bytes &&
	       !memcmp(safetensors_bytes(a->file, x), safetensors_bytes(b->file, y), x->bytes);
}

static bool same_module(const struct sum *s, const struct term *x, const struct term *y)
{
	const struct file_module *a = x->module, *b = y->module;
	const struct adapter_file *of_a = file_of(s, x), *of_b = file_of(s, y);

	if (a->kind != b->kind || kind_scale(a->kind, &a->form, a->alpha) != kind_scale(b->kind, &b->form, b->alpha))
		return false;
	for (int i = 0; i < BRANCH_PARTS; i++)
		if (!same_tensor(of_a, a->part[i], of_b, b->part[i]))
			return false;
	return same_tensor(of_a, a->lengths, of_b, b->lengths) && a->by_input == b->by_input &&
	       same_tensor(of_a, a->bias, of_b, b->bias) && a->bias_scaled == b->bias_scaled;
}

/* A - A is then 0, not what rounding leaves of it. */
static void gather(struct sum *s, const struct term *term, size_t n)
{
	s->term = xcalloc(n, sizeof(*s->term));
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;

		while (k < s->count && !same_module(s, &s->term[k], &term[i]))
			k++;
		if (k == s->count)
			s->term[s->count++] = term[i];
		else
			s->term[k].weight += term[i].weight;
	}
}

static const char *why_not_exact(const struct file_module *m)
{
	return m->lengths ? "is a DoRA, whose lengths change every number of the model's weight" :
	       m->kind->needs_base ? "turns the model's weights and is no sum by itself" :
	       "holds whole weights, which have no factors";
}

static int refuse_without_model(const struct sum *s, const struct term *t, struct error *e)
{
	return refuse(s, t, why_not_exact(t->module), "lora-merge add makes a LoRA of it with -m MODEL and --rank R",
		      e);
}

/* What turns a weight has tensors of one side of it alone: without a model the other side is not known. */
static int refuse_shapes(const struct sum *s, const struct term *t, struct error *e)
{
	for (size_t i = 0; i < s->count && !s->how->in->files; i++)
		if (update_needs_base(s->term[i].module))
			return refuse_without_model(s, &s->term[i], e);
	return refuse(s, t, "has another shape than the same layer in the first adapter",
		      "they are for different models", e);
}

static bool changes_weight(const struct term *t)
{
	return t->module->kind != &kind_full || t->module->part[FULL_DIFF];
}

/* Of a bias alone, without a model, only the outputs are known. */
static int check_shapes(const struct sum *s, struct error *e)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct weight *a = layer_weight(s->layer), *b = layer_weight(s->term[i].module->layer);

		if (a->out != b->out ||
		    (changes_weight(&s->term[i]) && (a->in != b->in || a->kh != b->kh || a->kw != b->kw)))
			return refuse_shapes(s, &s->term[i], e);
	}
	return 0;
}

/* Terms of weight 0 go, but one that a sum of nothing is said by. */
static size_t drop_zeros(struct sum *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->count; i++)
		if (s->term[i].weight != 0)
			s->term[n++] = s->term[i];
	return s->count = n;
}

static int read_delta(struct delta *d, const struct sum *s, const struct term *t, struct error *e)
{
	const struct file_module *m = t->module;

	*d = (struct delta){ .kind = m->kind, .form = &m->form, .w = layer_weight(m->layer), .scale = 1 };
	for (int i = 0; i < BRANCH_PARTS; i++)
		if (m->part[i] && !(d->part[i] = adapter_file_floats(file_of(s, t), m->part[i], true, e)))
			return -1;
	delta_begin(d);
	return 0;
}

static double scale_of(const struct term *t)
{
	return t->weight * kind_scale(t->module->kind, &t->module->form, t->module->alpha);
}

/* ---- biases ---- */

/* *bias NULL: no term has one */
static int sum_biases(const struct sum *s, float **bias, struct error *e)
{
	double *sum = NULL;
	size_t n = 0;

	for (size_t i = 0; i < s->count; i++) {
		const struct term *t = &s->term[i];
		float *x = t->module->bias ? adapter_file_floats(file_of(s, t), t->module->bias, true, e) : NULL;

		if (t->module->bias && !x) {
			free(sum);
			return -1;
		}
		if (x && !sum)
			sum = xcalloc((n = safetensor_elements(t->module->bias)) + 1, sizeof(*sum));
		for (size_t k = 0; x && k < n; k++)
			sum[k] += (t->module->bias_scaled ? scale_of(t) : t->weight) * x[k];
		free(x);
	}
	*bias = sum ? xmalloc((n + 1) * sizeof(**bias)) : NULL;
	for (size_t k = 0; k < n; k++)
		(*bias)[k] = (float)sum[k];
	free(sum);
	return 0;
}

/* ---- one term ---- */

static bool is_power_of_two(double x)
{
	int exponent;

	return fabs(frexp(x, &exponent)) == 0.5;
}

/* The sign is put on up, and of other kinds on whichever comes first. */
static int first_part(const struct file_module *m)
{
	int i = 0;

	if (m->kind == &kind_lora)
		return LORA_UP;
	while (!m->part[i])
		i++;
	return i;
}

/* Halves of the smallest numbers of F16 are none of it. */
static bool all_held(enum dtype type, const float *x, size_t n)
{
	enum { SPAN = 256 };
	unsigned char bytes[SPAN * sizeof(float)];
	float back[SPAN];

	for (size_t i = 0, span; i < n; i += span) {
		span = n - i < SPAN ? n - i : SPAN;
		if (from_float(bytes, type, x + i, span) || to_float(back, bytes, type, span))
			return false;
		for (size_t k = 0; k < span; k++)
			if (back[k] != x[i + k])
				return false;
	}
	return true;
}

/* One part times the weight: dW is linear in each, and of the kinds whose alpha says nothing it is as long as its
 * parts' lengths multiplied. */
static void change_numbers(struct combined *c, const struct delta *d, enum dtype type, double by)
{
	const size_t n = part_count(&d->form->part[c->change.part]);
	const float *x = d->part[c->change.part];
	double all = 0, lost = 0;

	c->change.numbers = xmalloc((n + 1) * sizeof(float));
	for (size_t i = 0; i < n; i++) {
		const double right = by * x[i];

		c->change.numbers[i] = (float)right;
		all += right * right;
		lost += (right - c->change.numbers[i]) * (right - c->change.numbers[i]);
	}
	c->change.exact = is_power_of_two(by) && all_held(type, c->change.numbers, n);
	if (all > 0)
		c->lost = c->update * sqrt(lost / all);
}

/* The alpha takes the weight's size where dW follows it, and a part the sign. */
static int change_one(struct combined *c, const struct sum *s, struct error *e)
{
	const struct term *t = &s->term[0];
	const struct file_module *m = t->module;
	const double scale = kind_scale(m->kind, &m->form, m->alpha), larger = m->alpha * fabs(t->weight);
	const bool follows = !m->kind->no_alpha && scale != 0 &&
			     fabs(kind_scale(m->kind, &m->form, larger) / scale - fabs(t->weight)) <=
				     1e-12 * fabs(t->weight);
	const double by = follows ? copysign(1, t->weight) : t->weight;
	struct delta d = { 0 };
	int status = changes_weight(t) ? read_delta(&d, s, t, e) : 0;

	c->how = COMBINED_CHANGED;
	c->change = (struct output_change){ .alpha = follows ? alpha_as_written(m->alpha_tensor, larger) : m->alpha,
					    .part = first_part(m) };
	if (!status && d.kind) {
		c->update = delta_norm(&d) * fabs(scale * t->weight);
		if (by != 1)
			change_numbers(c, &d, m->part[c->change.part]->dtype, by);
		if (follows)
			c->lost = c->update * fabs(c->change.alpha / larger - 1);
		delta_end(&d);
		d = (struct delta){ 0 };
	}
	return status || sum_biases(s, &c->change.bias, e) ? -1 : 0;
}

/* Of a module that is written as it is. */
static int measure_copy(struct combined *c, const struct sum *s, struct error *e)
{
	c->how = COMBINED_COPY;
	return update_norm(&c->update, file_of(s, &s->term[0]), s->term[0].module, e);
}

/* ---- factors ---- */

/* The largest of the terms' scales, as a power of two: alpha = scale * rank is exact in any type, factors of a term
 * with that scale stay what they are, and the others only get smaller. */
static double common_scale(const struct sum *s)
{
	double most = 0;
	int exponent;

	for (size_t i = 0; i < s->count; i++)
		most = fmax(most, fabs(scale_of(&s->term[i])));
	if (frexp(most, &exponent) == 0.5)
		exponent--;
	return most > 0 ? ldexp(1, exponent) : 1;
}

/* The term's factors go behind the `at` that are there, with the root of the weight on each side and the sign on
 * up. */
static void put_factors(const struct sum *s, struct factored *p, size_t at, const struct delta_factors *f, double scale)
{
	const double root = sqrt(fabs(scale) / p->scale), signed_root = copysign(root, scale);

	for (size_t o = 0; o < s->rows; o++)
		for (size_t k = 0; k < f->rank; k++)
			p->up[o * p->rank + at + k] = signed_root * f->up[o * f->rank + k];
	for (size_t i = 0; i < f->rank * s->columns; i++)
		p->down[at * s->columns + i] = root * f->down[i];
}

static void concatenate(const struct sum *s, const struct delta *d, size_t rank, struct factored *p)
{
	size_t at = 0;

	*p = factored_new(s->rows, s->columns, rank, common_scale(s));
	for (size_t i = 0; i < s->count && changes_weight(&s->term[i]); i++) {
		struct delta_factors f;

		delta_factors(&d[i], &f);
		put_factors(s, p, at, &f, scale_of(&s->term[i]));
		at += f.rank;
		delta_factors_free(&f);
	}
}

static void finish_lora(struct combined *c, const struct sum *s, struct factored *p, double cut)
{
	double written, lost;

	c->how = COMBINED_LORA;
	c->lora = (struct output_lora){ s->layer, (int)p->rank, p->scale * p->rank };
	written = factored_norm(p);
	lost = factored_round(p, s->how->type, &c->lora.up, &c->lora.down);
	/* What is cut off is at right angles to what is kept. */
	c->update = hypot(written, cut);
	c->lost = hypot(lost, cut);
}

/* Nothing times nothing: readers look for a module, and a rank of 0 is none.  Of a norm, and where all that there was
 * is a bias, the numbers that were are zeros.  What turns a weight tells one side of it without a model, and zeros of a
 * wrong shape would be an adapter that no model takes. */
static int make_zeros(struct combined *c, const struct sum *s, const struct term *term, size_t n, struct error *e)
{
	struct factored none;
	bool weight = false, bias = false;

	for (size_t i = 0; i < n; i++) {
		if (term[i].module->kind->needs_base && !s->how->in->files)
			return refuse(s, &term[i], "cancels out, and its tensors do not tell the shape of the layer",
				      "say -m MODEL, which does", e);
		weight |= changes_weight(&term[i]);
		bias |= term[i].module->bias != NULL;
	}
	none = factored_new(s->rows, s->columns, 1, 1);
	if (weight && !s->layer->norm)
		finish_lora(c, s, &none, 0);
	else if (weight)
		c->weight = xcalloc(s->rows, sizeof(float));
	if (bias && (!weight || s->layer->norm))
		c->bias = xcalloc(s->rows, sizeof(float));
	factored_free(&none);
	return 0;
}

static int combine_factors(struct combined *c, const struct sum *s, const struct delta *d, size_t rank,
			   struct error *e)
{
	const size_t wanted = s->how->rank;
	double cut = 0;
	struct factored p;

	concatenate(s, d, rank, &p);
	if (wanted && wanted < rank)
		cut = factored_truncate(&p, wanted);
	finish_lora(c, s, &p, cut);
	factored_free(&p);
	return sum_biases(s, &c->bias, e);
}

/* ---- whole differences ---- */

static int combine_full(struct combined *c, const struct sum *s, const struct delta *d, struct error *e)
{
	const size_t n = s->rows * s->columns;
	double *sum = xcalloc(n + 1, sizeof(*sum)), update = 0, lost = 0;
	float *to;

	for (size_t i = 0; i < s->count; i++)
		for (size_t k = 0; changes_weight(&s->term[i]) && k < n; k++)
			sum[k] += scale_of(&s->term[i]) * d[i].part[FULL_DIFF][k];
	for (size_t k = 0; k < n; k++)
		update += sum[k] * sum[k];
	to = rounded_doubles(sum, n, s->how->type);
	for (size_t k = 0; k < n; k++)
		lost += sum[k] * sum[k];
	free(sum);
	c->how = COMBINED_FULL;
	c->weight = to;
	c->update = sqrt(update);
	c->lost = sqrt(lost);
	return sum_biases(s, &c->bias, e);
}

/* ---- by a method ---- */

static int combine_method(struct combined *c, const struct sum *s, struct error *e)
{
	if (check_shapes(s, e) || combine_by_method(c, s->how, s->term, s->count, e))
		return -1;
	return sum_biases(s, &c->bias, e);
}

/* One adapter of which everything stays is itself; a norm or a bias has no elements to choose among. */
static bool goes_by_method(const struct sum *s)
{
	const struct term *t = s->term;

	if (!s->how->method || s->layer->norm)
		return false;
	for (size_t i = 0; i < s->count; i++)
		if (!changes_weight(&t[i]))
			return false;
	return s->count > 1 || s->how->density < 1 || t->weight != 1;
}

/* ---- several ---- */

/* Of more factors the whole matrix is sooner brought to a rank. */
enum { MOST_FACTORS = 512 };

/* It is no product of thin matrices: only --rank makes a LoRA of it. */
static bool is_whole(const struct sum *s, const struct term *t, bool all_full)
{
	return update_needs_base(t->module) || (t->module->kind == &kind_full && (!all_full || s->how->rank));
}

/* Terms that change the weight, in front. */
static size_t weights_first(struct sum *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->count; i++)
		if (changes_weight(&s->term[i])) {
			const struct term t = s->term[i];

			s->term[i] = s->term[n];
			s->term[n++] = t;
		}
	return n;
}

static int combine_nearest(struct combined *c, const struct sum *s, size_t weights, struct error *e)
{
	for (size_t i = 0; i < weights; i++) {
		const struct term *t = &s->term[i];

		if (update_needs_base(t->module) && !s->how->in->files)
			return refuse_without_model(s, t, e);
		if (!s->how->rank && is_whole(s, t, false))
			return refuse(s, t, why_not_exact(t->module),
				      "lora-merge add makes a LoRA of it with --rank R", e);
	}
	return combine_whole(c, s->how, s->term, weights, e) ? -1 : sum_biases(s, &c->bias, e);
}

static int combine_deltas(struct combined *c, const struct sum *s, struct delta *d, size_t weights, bool all_full,
			  struct error *e)
{
	size_t rank = 0;

	for (size_t i = 0; i < weights; i++) {
		if (read_delta(&d[i], s, &s->term[i], e))
			return -1;
		rank += delta_factors_rank(&d[i]);
	}
	if (all_full)
		return combine_full(c, s, d, e);
	if (s->how->rank && s->how->rank < (long)rank && rank > MOST_FACTORS)
		return combine_nearest(c, s, weights, e);
	return combine_factors(c, s, d, rank, e);
}

static int combine_several(struct combined *c, struct sum *s, struct error *e)
{
	const size_t weights = weights_first(s);
	bool all_full = true, whole = false;
	struct delta *d;
	int status;

	for (size_t i = 0; i < weights; i++)
		all_full &= s->term[i].module->kind == &kind_full;
	for (size_t i = 0; i < weights && !s->layer->norm; i++)
		whole |= is_whole(s, &s->term[i], all_full);
	if (!weights)
		return sum_biases(s, &c->bias, e);
	if (whole)
		return combine_nearest(c, s, weights, e);
	d = xcalloc(weights, sizeof(*d));
	status = combine_deltas(c, s, d, weights, all_full, e);
	for (size_t i = 0; i < weights; i++)
		if (d[i].kind)
			delta_end(&d[i]);
	free(d);
	return status;
}

/* The module fits the rank that is wanted, or has none. */
static bool fits_rank(const struct sum *s, const struct file_module *m)
{
	return !s->how->rank || m->layer->norm || (m->kind == &kind_full && !m->part[FULL_DIFF]) ||
	       (m->kind == &kind_lora && !m->lengths && m->form.rank <= s->how->rank);
}

static int combine_sum(struct combined *c, struct sum *s, const struct term *first, size_t n, struct error *e)
{
	const struct term *t = s->term;

	if (check_shapes(s, e))
		return -1;
	if (!drop_zeros(s))
		return make_zeros(c, s, first, n, e);
	c->term = first;
	while (s->count == 1 && c->term->module != t->module)
		c->term++;
	if (s->count == 1 && t->weight == 1 && fits_rank(s, t->module))
		return measure_copy(c, s, e);
	if (s->count == 1 && !update_needs_base(t->module) && fits_rank(s, t->module))
		return change_one(c, s, e);
	return combine_several(c, s, e);
}

/* With the shape that the first one says that knows both sides. */
static const struct layer *layer_of(const struct term *term, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (changes_weight(&term[i]))
			return term[i].module->layer;
	return term->module->layer;
}

int combine(struct combined *c, const struct combining *how, const struct term *term, size_t n, struct error *e)
{
	const struct layer *layer = layer_of(term, n);
	const struct weight *w = layer_weight(layer);
	struct sum s = { .how = how, .layer = layer, .rows = w->out, .columns = (size_t)w->in * w->kh * w->kw };
	int status;

	*c = (struct combined){ .how = COMBINED_FULL, .layer = layer };
	if (how->method) {
		s.term = xmalloc(n * sizeof(*term));
		memcpy(s.term, term, n * sizeof(*term));
		s.count = n;
	} else {
		gather(&s, term, n);
	}
	if (goes_by_method(&s))
		status = combine_method(c, &s, e);
	else
		status = combine_sum(c, &s, term, n, e);
	free(s.term);
	return status;
}

void combined_free(struct combined *c)
{
	free(c->change.numbers);
	free(c->change.bias);
	free(c->lora.up);
	free(c->lora.down);
	free(c->weight);
	free(c->bias);
}
