/* The rows of kind.h, and what is the same for all of them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "kind.h"

/* Each is kind_NAME, in NAME.c or that of its like. */
#define KINDS(X) X(lora) X(lora_fa) X(loha) X(lokr) X(oft) X(oft_peft) X(full)

#define DECLARE(name) extern const struct adapter_kind kind_##name;
#define ROW(name) &kind_##name,
KINDS(DECLARE)
const struct adapter_kind *const adapter_kinds[] = { KINDS(ROW) NULL };

/* ---- shapes ---- */

struct part_form part_flat(int n, int h, int w, int c)
{
	return (struct part_form){
		.n = n, .h = h, .w = w, .c = c, .dims = 2, .shape = { n, (int64_t)c * h * w, 1, 1 }
	};
}

struct part_form part_whole(int n, int h, int w, int c, bool four)
{
	return (struct part_form){
		.n = n, .h = h, .w = w, .c = c, .dims = four || h * w > 1 ? 4 : 2, .shape = { n, c, h, w }
	};
}

bool weight_of_shape(struct weight *w, int64_t out, int64_t in, const struct safetensor *kernel)
{
	const int64_t kh = kernel && kernel->dims == 4 ? kernel->shape[2] : 1,
		      kw = kernel && kernel->dims == 4 ? kernel->shape[3] : 1;
	const int64_t sides[] = { out, in, kh, kw };
	int64_t n = 1;

	for (int i = 0; i < 4; i++) {
		if (sides[i] < 1 || sides[i] > INT32_MAX / n)
			return false;
		n *= sides[i];
	}
	*w = (struct weight){ .out = (int)out, .in = (int)in, .kh = (int)kh, .kw = (int)kw };
	return true;
}

static int64_t side(const struct safetensor *t, int i)
{
	return i < t->dims ? t->shape[i] : 1;
}

static bool fits(const struct part_form *p, const struct safetensor *t)
{
	if (!t || !p->n)
		return !t && !p->n;
	if (t->dims > 4 || t->dims < (p->dims < 2 ? p->dims : 2))
		return false;
	if (t->dims == 2 && p->dims == 4)       /* a kernel may be flattened */
		return t->shape[0] == p->shape[0] && t->shape[1] == p->shape[1] * p->shape[2] * p->shape[3];
	for (int i = 0; i < 4; i++)
		if (side(t, i) != (i < p->dims ? p->shape[i] : 1))
			return false;
	return true;
}

bool kind_form_of_file(const struct adapter_kind *k, struct module_form *f, const struct weight *w,
		       const struct safetensor *const part[BRANCH_PARTS])
{
	if (!k->read(f, w, part))
		return false;
	for (int i = 0; i < BRANCH_PARTS; i++)
		if (!fits(&f->part[i], part[i]))
			return false;
	return true;
}

/* ---- names ---- */

const struct adapter_kind *kind_by_module(const char *module)
{
	for (size_t i = 0; adapter_kinds[i]; i++)
		if (adapter_kinds[i]->module && !strcmp(adapter_kinds[i]->module, module))
			return adapter_kinds[i];
	return NULL;
}

const struct adapter_kind *kind_by_algo(const char *algo)
{
	for (size_t i = 0; adapter_kinds[i]; i++)
		for (const char *const *a = adapter_kinds[i]->algos; *a; a++)
			if (!strcmp(*a, algo))
				return adapter_kinds[i];
	return NULL;
}

const char *kind_part_suffix(const struct adapter_kind *k, int part)
{
	const struct kind_suffix *s = k->suffixes;

	while (s->part != part)
		s++;
	return s->text;
}

char *kind_part_name(const struct adapter_kind *k, int part)
{
	const char *suffix = kind_part_suffix(k, part);

	return xstrndup(suffix, strcspn(suffix, "."));
}

double kind_scale(const struct adapter_kind *k, const struct module_form *f, double alpha)
{
	return k->scale ? k->scale(f, alpha) : alpha / f->rank;
}

/* ---- on the host ---- */

void delta_begin(struct delta *d)
{
	d->own = d->kind->delta_begin ? d->kind->delta_begin(d) : NULL;
}

void delta_end(struct delta *d)
{
	for (int i = 0; i < BRANCH_PARTS; i++)
		free(d->part[i]);
	free(d->own);
}

void delta_add_rows(const struct delta *d, size_t row, size_t rows, double *sum, const struct base_rows *base)
{
	const size_t columns = (size_t)d->w->in * d->w->kh * d->w->kw;
	const struct delta_tile t = { row, rows, 0, columns, sum, columns };

	d->kind->add_delta(d, &t, base);
}

double delta_norm_of_rows(const struct delta *d)
{
	enum { ROWS = 32 };
	const size_t columns = (size_t)d->w->in * d->w->kh * d->w->kw, out = d->w->out;
	double *rows = xmalloc(ROWS * columns * sizeof(*rows)), sum = 0;

	for (size_t o = 0; o < out; o += ROWS) {
		const size_t n = out - o < ROWS ? out - o : ROWS;

		memset(rows, 0, n * columns * sizeof(*rows));
		delta_add_rows(d, o, n, rows, NULL);
		for (size_t j = 0; j < n * columns; j++)
			sum += rows[j] * rows[j];
	}
	free(rows);
	return sqrt(sum);
}

double delta_norm(const struct delta *d)
{
	return d->kind->delta_norm ? d->kind->delta_norm(d) : delta_norm_of_rows(d);
}

size_t delta_factors_rank(const struct delta *d)
{
	return d->kind->factors ? d->kind->factors_rank(d) : 0;
}

void delta_factors(const struct delta *d, struct delta_factors *f)
{
	f->rank = delta_factors_rank(d);
	f->up = xmalloc(f->rank * d->w->out * sizeof(*f->up));
	f->down = xmalloc(f->rank * d->w->in * d->w->kh * d->w->kw * sizeof(*f->down));
	d->kind->factors(d, f);
}

void delta_factors_free(struct delta_factors *f)
{
	free(f->up);
	free(f->down);
}
