/* Lengths of columns or rows on the modules that have some, measured where nobody says them. */
#include <math.h>
#include <stdlib.h>
#include "../base/memory.h"
#include "../nn/workspace.h"
#include "adapter_internal.h"
#include "dora_lora.h"
#include "dora_whole.h"
#include "lengths.h"
#include "module_delta.h"

/* Rows of a weight are read back this many floats at a time. */
enum { PART = 1 << 20 };

/* ---- what W + dW measures ---- */

/* Rows are looked up like an embedding's, so any device and type will do. */
static struct weight flattened(const struct weight *w)
{
	struct weight flat = *w;

	flat.in *= w->kh * w->kw;
	flat.kh = flat.kw = 1;
	return flat;
}

static int rows_at_once(const struct weight *w)
{
	const int rows = PART / flattened(w).in;

	return rows < 1 ? 1 : rows < w->out ? rows : w->out;
}

static int32_t *counted(int n)
{
	int32_t *ids = xmalloc(n * sizeof(*ids));

	for (int i = 0; i < n; i++)
		ids[i] = i;
	return ids;
}

/* sum[out] or, columns, sum[in] = squares of W + scale dW; dw on the device, NULL: of W alone. */
struct measure {
	const struct adapter *a;
	const struct weight *w;
	const float *dw;
	float scale;
	bool columns;
	double *sum;
};

static void add_squares(const struct measure *m, const float *rows, int first, int count)
{
	const size_t fan = flattened(m->w).in, in = m->w->in;

	for (int k = 0; k < count; k++)
		for (size_t i = 0; i < fan; i++) {
			const double x = rows[k * fan + i];

			m->sum[m->columns ? i % in : (size_t)(first + k)] += x * x;
		}
}

/* -1: no memory */
static int measure(const struct measure *m)
{
	const struct backend *be = m->a->be;
	struct device *d = m->a->device;
	const struct weight flat = flattened(m->w);
	const size_t fan = flat.in;
	const int rows = rows_at_once(m->w);
	float *host = xmalloc(rows * fan * sizeof(*host)), *device = be->alloc(d, rows * fan * sizeof(*device));
	int32_t *ids = counted(m->w->out);

	for (int i = 0; device && i < m->w->out; i += rows) {
		const int now = m->w->out - i < rows ? m->w->out - i : rows;

		be->embedding(d, device, &flat, ids + i, now);
		if (m->dw)
			be->axpby(d, f32(device), m->scale, f32(m->dw + i * fan), 1, now * fan);
		be->download(d, host, device, now * fan * sizeof(*host));
		add_squares(m, host, i, now);
	}
	be->release(d, device);
	free(host);
	free(ids);
	return device ? 0 : -1;
}

static int no_memory(const struct adapter_module *m, struct error *e)
{
	return fail(e, EXIT_MEMORY, "no device memory for the magnitudes of '%s'; use a device with more memory",
		    m->stem);
}

/* ---- lengths that are known from the start ---- */

struct whole { const struct adapter *a; const struct adapter_module *m; int status; };

static struct tensor *make_whole(struct tape *t, void *arg)
{
	struct whole *of = arg;
	const struct weight *w = layer_weight(of->m->layer);
	struct tensor *dw = tensor_new(t, w->out, w->kh, w->kw, w->in);

	if (of->m->kind->branch.whole)
		of->m->kind->branch.whole(t, dw->data, &of->m->branch, w);
	else if (!backend_is_dry(tape_backend(t)))
		of->status = module_delta(of->a, of->m, dw->data);
	return dw;
}

/* What a row or a column is multiplied with: m / |W + dW|, of n of them, malloced.  NULL: no memory */
static float *gains(struct adapter *a, struct adapter_module *m, const float *lengths, int n, bool columns)
{
	struct workspace work = { .be = a->be, .device = a->device };
	struct error unsaid;
	struct whole whole = { a, m, 0 };
	const struct tensor *dw = workspace_run(&work, make_whole, &whole, &unsaid);
	double *sum = xcalloc(n, sizeof(*sum));
	float *gain = xmalloc(n * sizeof(*gain));
	const struct measure of = { a, layer_weight(m->layer), dw ? dw->data : NULL, m->branch.scale, columns, sum };

	if (!dw || whole.status || measure(&of) < 0) {
		free(gain);
		gain = NULL;
	}
	for (int i = 0; gain && i < n; i++)
		gain[i] = lengths[i] / (sqrt(sum[i]) + m->branch.norm_eps);
	workspace_free(&work);
	free(sum);
	return gain;
}

/* The lengths themselves are a part like others, [n] of rows or columns. */
static int put_lengths(struct adapter *a, struct adapter_module *m, const float *lengths, int n, bool columns,
		       bool trainable)
{
	struct part_form *p = &m->form.part[LENGTHS_PART];

	*p = (struct part_form){ 1, 1, 1, n, m->layer->convolution ? 4 : 2, { n, 1, 1, 1 } };
	if (columns)
		p->shape[0] = 1, p->shape[1] = n;
	m->branch.part[LENGTHS_PART] = (struct tensor){ .n = 1, .h = 1, .w = 1, .c = n };
	return adapter_put_parameter(a, &m->branch.part[LENGTHS_PART], lengths, trainable);
}

static int put_fixed(struct adapter *a, struct adapter_module *m, const float *host, size_t n)
{
	m->branch.fixed = adapter_floats(a, host, n);
	m->branch.fixed_count = n;
	return m->branch.fixed ? 0 : -1;
}

static int add_rows(struct adapter *a, struct adapter_module *m, const float *lengths)
{
	const int out = layer_weight(m->layer)->out;
	float *gain = lengths ? gains(a, m, lengths, out, false) : NULL;
	const int status = gain || !lengths ? put_fixed(a, m, gain, out) : -1;

	m->branch.kind = &dora_rows;
	free(gain);
	return status < 0 ? -1 : put_lengths(a, m, lengths, out, false, false);
}

static int add_columns(struct adapter *a, struct adapter_module *m, const float *lengths)
{
	const int in = layer_weight(m->layer)->in;
	float *gain = lengths ? gains(a, m, lengths, in, true) : NULL, *both = xcalloc(2 * in, sizeof(*both));
	int status;

	for (int i = 0; gain && i < in; i++) {
		both[i] = gain[i];
		both[in + i] = m->branch.weight * gain[i];
	}
	status = gain || !lengths ? put_fixed(a, m, both, 2 * in) : -1;
	m->branch.kind = &dora_columns;
	free(gain);
	free(both);
	return status < 0 ? -1 : put_lengths(a, m, lengths, in, true, false);
}

/* ---- lengths that can be trained ---- */

static int lengths_of(const struct adapter_module *m, bool columns)
{
	return columns ? layer_weight(m->layer)->in : layer_weight(m->layer)->out;
}

/* Squares of the norms of W's own columns or rows. */
static int put_norms2(struct adapter *a, struct adapter_module *m, bool columns)
{
	const struct weight *w = layer_weight(m->layer);
	const int n = lengths_of(m, columns);
	double *sum = xcalloc(n, sizeof(*sum));
	float *norms2 = xmalloc(n * sizeof(*norms2));
	int status = 0;

	if (!backend_is_dry(a->be))
		status = measure(&(struct measure){ .a = a, .w = w, .columns = columns, .sum = sum });
	for (int i = 0; i < n; i++)
		norms2[i] = sum[i];
	if (!status)
		status = put_fixed(a, m, norms2, n);
	free(sum);
	free(norms2);
	return status;
}

/* A LoRA's norms need no dW, if it has no middle factor; other kinds' do. */
static bool by_low_rank(const struct adapter_module *m)
{
	return m->kind == &kind_lora && !m->branch.part[LORA_MID].n;
}

static bool by_whole(const struct adapter_module *m)
{
	return m->kind->lengths && m->kind->branch.whole_back;
}

static void low_rank_norms2(struct tape *t, float *norm2, const struct branch *b, const struct weight *w, bool columns)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const size_t r = b->rank, up = r * b->part[LORA_UP].n, down = tensor_count(&b->part[LORA_DOWN]);
	float *up_t = tape_scratch(t, up), *square = tape_scratch(t, r * r);
	float *one = tape_scratch(t, columns ? down : up), *other = tape_scratch(t, columns ? down : 1);

	if (columns)
		dora_column_norms(be, d, norm2, one, up_t, square, other, b, w);
	else
		dora_row_norms(be, d, norm2, up_t, one, square, b, w);
	tape_scratch_give(t, other);
	tape_scratch_give(t, one);
	tape_scratch_give(t, square);
	tape_scratch_give(t, up_t);
}

/* The norms of W + dW, as a pass computes them: then a new DoRA changes nothing, to the bit. */
struct norms_now { const struct adapter_module *m; bool columns; };

static struct tensor *make_norms2(struct tape *t, void *arg)
{
	const struct norms_now *of = arg;
	struct tensor *norm2 = tensor_new(t, 1, 1, 1, lengths_of(of->m, of->columns));

	(by_low_rank(of->m) ? low_rank_norms2 : dora_whole_norms)(t, norm2->data, &of->m->branch,
								  layer_weight(of->m->layer), of->columns);
	return norm2;
}

/* malloced; NULL: no memory */
static float *norms_now(struct adapter *a, const struct adapter_module *m, bool columns)
{
	struct workspace work = { .be = a->be, .device = a->device };
	struct error unsaid;
	const struct tensor *norm2 = workspace_run(&work, make_norms2, &(struct norms_now){ m, columns }, &unsaid);
	const int n = lengths_of(m, columns);
	float *norm = norm2 ? xmalloc(n * sizeof(*norm)) : NULL;

	if (norm)
		a->be->download(a->device, norm, norm2->data, n * sizeof(*norm));
	for (int i = 0; norm && i < n; i++)
		norm[i] = sqrtf(norm[i]) + m->branch.norm_eps;
	workspace_free(&work);
	return norm;
}

/* lengths NULL: as they are now */
static int add_trained(struct adapter *a, struct adapter_module *m, bool columns, const float *lengths, bool trainable)
{
	static const struct branch_kind *const kinds[2][2] = { { &dora_whole_rows, &dora_whole_columns },
							       { &dora_lora_rows, &dora_lora_columns } };
	const bool low = by_low_rank(m);
	float *norm = NULL;
	int status;

	a->dora = columns ? DORA_INPUT : DORA_OUTPUT;
	m->branch.kind = kinds[low][columns];
	if ((low && put_norms2(a, m, columns) < 0) ||
	    (!lengths && !backend_is_dry(a->be) && !(norm = norms_now(a, m, columns))))
		return -1;
	status = put_lengths(a, m, lengths ? lengths : norm, lengths_of(m, columns), columns, trainable);
	free(norm);
	return status;
}

/* ---- all modules ---- */

/* A frozen LoRA's rows go with those that are trained: they need no dW. */
static int add_lengths(struct adapter *a, struct adapter_module *m, bool columns, const float *lengths, bool trainable)
{
	if (trainable || (by_low_rank(m) && !columns))
		return add_trained(a, m, columns, lengths, trainable);
	return columns ? add_columns(a, m, lengths) : add_rows(a, m, lengths);
}

static int check_trained(const struct adapter_file *f, const struct file_module *in, const struct adapter_module *m,
			 enum dora_axis axis, struct error *e)
{
	const enum dora_axis own = in->by_input ? DORA_INPUT : DORA_OUTPUT;

	if (!by_low_rank(m) && !by_whole(m))
		return fail(e, EXIT_INPUT,
			    "%s: '%.200s' is a %s with a DoRA's lengths, which are not trained of that kind; "
			    "merge it into the model with lora-merge",
			    f->file->path, in->name, m->kind->name);
	if (axis && axis != own)
		return fail(e, EXIT_USAGE, "%s: '%.200s' has a DoRA's lengths of %ss, and those of %ss would be "
			    "trained; set dora_axis = %s", f->file->path, in->name, dora_axis_name(own),
			    dora_axis_name(axis), dora_axis_name(own));
	return 0;
}

static int add_from_file(struct adapter *a, struct adapter_module *m, const struct adapter_file *f,
			 const struct file_module *in, const struct lengths_wish *wish, struct error *e)
{
	float *lengths = NULL;
	int status;

	if (wish->trainable && check_trained(f, in, m, wish->all, e) < 0)
		return -1;
	if (!backend_is_dry(a->be) && !(lengths = adapter_file_floats(f, in->lengths, true, e)))
		return -1;
	/* what is trained is saved as LyCORIS' */
	m->branch.norm_eps = wish->trainable ? LYCORIS_EPS : lengths_eps(in);
	status = add_lengths(a, m, in->by_input, lengths, wish->trainable);
	free(lengths);
	return status < 0 ? no_memory(m, e) : 0;
}

static int add_anew(struct adapter *a, struct adapter_module *m, const struct lengths_wish *wish, struct error *e)
{
	if (!by_low_rank(m) && !by_whole(m))
		return fail(e, EXIT_USAGE,
			    "dora: lengths are trained of a LoRA without a middle factor; leave out use_tucker");
	m->branch.norm_eps = LYCORIS_EPS;
	return add_trained(a, m, wish->all == DORA_INPUT, NULL, wish->trainable) < 0 ? no_memory(m, e) : 0;
}

int adapter_add_lengths(struct adapter *a, const struct adapter_file *f, const struct lengths_wish *wish,
			struct error *e)
{
	int status = adapter_put_constants(a, e);

	for (size_t i = 0; i < a->count && !status; i++) {
		struct adapter_module *m = &a->module[i];
		const struct file_module *in = f ? adapter_file_module(f, m->layer) : NULL;

		if (!wish->all && !(in && in->lengths))
			continue;
		m->branch.weight = wish->weight;
		m->branch.scale = (float)kind_scale(m->kind, &m->form, m->alpha);
		m->branch.constants = &a->constants;
		status = in && in->lengths ? add_from_file(a, m, f, in, wish, e) : add_anew(a, m, wish, e);
	}
	return status;
}
