#include <math.h>
#include <stdlib.h>
#include "../base/memory.h"
#include "adapter_internal.h"

/* Rows of a weight are read back this many floats at a time. */
enum { PART = 1 << 20 };

/* For ranks and outputs of at most these. */
static int put_constants(struct adapter *a, int units, int widest, struct error *e)
{
	const size_t square = (size_t)units * units, n = square > (size_t)widest ? square : (size_t)widest;
	float *host = xcalloc(n, sizeof(*host));

	for (int i = 0; i < units; i++)
		host[(size_t)i * units + i] = 1;
	a->dora.units = units;
	a->dora.unit = adapter_floats(a, host, square);
	for (int i = 0; i < widest; i++)
		host[i] = 1;
	a->dora.ones = adapter_floats(a, host, widest);
	free(host);
	return a->dora.unit && a->dora.ones ? 0 : fail(e, EXIT_MEMORY, "no device memory for DoRA; use a smaller rank");
}

static double squares(const float *x, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)x[i] * x[i];
	return sum;
}

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

/* [out], malloced; NULL: no memory */
static float *base_rows2(struct adapter *a, const struct weight *w)
{
	const struct weight flat = flattened(w);
	const size_t fan = flat.in;
	const int rows = rows_at_once(w);
	float *out = xmalloc(w->out * sizeof(*out)), *host = xmalloc(rows * fan * sizeof(*host));
	float *device = a->be->alloc(a->device, rows * fan * sizeof(*device));
	int32_t *ids = counted(w->out);

	for (int i = 0; device && i < w->out; i += rows) {
		const int now = w->out - i < rows ? w->out - i : rows;
		a->be->embedding(a->device, device, &flat, ids + i, now);
		a->be->download(a->device, host, device, now * fan * sizeof(*host));
		for (int k = 0; k < now; k++)
			out[i + k] = squares(host + k * fan, fan);
	}
	a->be->release(a->device, device);
	free(host);
	free(ids);
	if (device)
		return out;
	free(out);
	return NULL;
}

static int no_memory(const struct adapter_module *m, struct error *e)
{
	return fail(e, EXIT_MEMORY, "no device memory for the magnitudes of '%s'; use a device with more memory", m->stem);
}

/* [out], malloced; NULL: no memory */
static float *norms_now(struct adapter *a, const struct adapter_module *m)
{
	const int out = m->lora.up.n;
	float *device = a->be->alloc(a->device, (out + dora_norms_room(&m->lora)) * sizeof(*device)), *norm = NULL;

	if (!device)
		return NULL;
	norm = xmalloc(out * sizeof(*norm));
	dora_norms(a->be, a->device, device, &m->lora, layer_weight(m->layer), device + out);
	a->be->download(a->device, norm, device, out * sizeof(*norm));
	for (int i = 0; i < out; i++)
		norm[i] = sqrtf(norm[i]);
	a->be->release(a->device, device);
	return norm;
}

static int put_rows2(struct adapter *a, struct adapter_module *m)
{
	float *rows2 = backend_is_dry(a->be) ? NULL : base_rows2(a, layer_weight(m->layer));

	if (rows2 || backend_is_dry(a->be))
		m->lora.rows2 = adapter_floats(a, rows2, m->lora.up.n);
	free(rows2);
	return m->lora.rows2 ? 0 : -1;
}

static int put_magnitude(struct adapter *a, struct adapter_module *m, const float *magnitude, bool trainable)
{
	float *norm = NULL;
	int status;

	if (!magnitude && !backend_is_dry(a->be) && !(norm = norms_now(a, m)))
		return -1;
	status = adapter_put_parameter(a, &m->lora.magnitude, magnitude ? magnitude : norm, trainable);
	free(norm);
	return status;
}

static int add_magnitude(struct adapter *a, struct adapter_module *m, const float *magnitude, double weight, bool trainable,
			 struct error *e)
{
	m->lora.dora = &a->dora;
	m->lora.weight = weight;
	m->lora.scale = (float)(m->alpha / m->rank);
	m->lora.magnitude = (struct tensor){ .n = 1, .h = 1, .w = 1, .c = m->lora.up.n };
	if (put_rows2(a, m) < 0 || put_magnitude(a, m, magnitude, trainable) < 0)
		return no_memory(m, e);
	return 0;
}

/* sum [in]: squares of the columns of W + scale up down, rows after rows.  part: room for `rows` of them */
static void add_column_squares(struct adapter *a, const struct lora *l, const struct weight *w, float *sum, float *part, int rows)
{
	const struct weight flat = flattened(w);
	const int taps = w->kh * w->kw, r = l->rank;
	int32_t *ids = counted(w->out);

	for (int i = 0; i < w->out; i += rows) {
		const int now = w->out - i < rows ? w->out - i : rows;

		a->be->embedding(a->device, part, &flat, ids + i, now);
		a->be->gemm(a->device, 0, 0, now, flat.in, r, l->scale, l->up.data + (size_t)i * r, r, l->down.data, flat.in, 1, part,
			    flat.in);
		a->be->multiply(a->device, part, part, part, now, flat.in, false);
		a->be->sum_per_sample(a->device, sum, part, 1, now * taps, w->in, i > 0);
	}
	free(ids);
}

/* A DoRA of columns is never trained, so what it does to them is known from the start. */
static int add_columns(struct adapter *a, struct adapter_module *m, const float *magnitude, double weight, struct error *e)
{
	const struct weight *w = layer_weight(m->layer);
	const int in = w->in, rows = rows_at_once(w);
	float *device = a->be->alloc(a->device, (in + (size_t)rows * flattened(w).in) * sizeof(*device));
	float *gain = xcalloc(2 * in, sizeof(*gain));

	m->lora.weight = weight;
	m->lora.scale = (float)(m->alpha / m->rank);
	if (device && magnitude) {
		add_column_squares(a, &m->lora, w, device, device + in, rows);
		a->be->download(a->device, gain, device, in * sizeof(*gain));
		for (int i = 0; i < in; i++) {
			gain[in + i] = magnitude[i] / (sqrtf(gain[i]) + 1e-12f);
			gain[i] = gain[in + i] - 1;
		}
	}
	a->be->release(a->device, device);
	if (device)
		m->lora.column_gain = adapter_floats(a, gain, 2 * in);
	free(gain);
	return m->lora.column_gain ? 0 : no_memory(m, e);
}

static int add_from_file(struct adapter *a, struct adapter_module *m, const struct adapter_file *f, const struct file_module *in,
			 double weight, bool trainable, struct error *e)
{
	float *magnitude = NULL;
	int status = -1;

	if (in->by_input && trainable)
		return fail(e, EXIT_INPUT, "%s: '%.200s' has a DoRA's lengths by input, and those by output are trained here; "
			    "merge it into the model with lora-merge", f->file->path, in->name);
	if (!backend_is_dry(a->be) && !(magnitude = adapter_file_floats(f, in->magnitude, true, e)))
		return -1;
	status = in->by_input ? add_columns(a, m, magnitude, weight, e) : add_magnitude(a, m, magnitude, weight, trainable, e);
	free(magnitude);
	return status;
}

int adapter_add_magnitudes(struct adapter *a, const struct adapter_file *f, bool all, double weight, bool trainable, struct error *e)
{
	int units = 1, widest = 1, status;

	for (size_t i = 0; i < a->count; i++) {
		const struct lora *l = &a->module[i].lora;
		units = l->rank > units ? l->rank : units;
		widest = l->up.n > widest ? l->up.n : widest;
	}
	status = put_constants(a, units, widest, e);
	for (size_t i = 0; i < a->count && !status; i++) {
		struct adapter_module *m = &a->module[i];
		const struct file_module *in = f ? adapter_file_module(f, m->layer) : NULL;

		if (in && in->magnitude)
			status = add_from_file(a, m, f, in, weight, trainable, e);
		else if (all)
			status = add_magnitude(a, m, NULL, weight, trainable, e);
	}
	return status;
}

void adapter_free_magnitudes(struct adapter *a)
{
	for (size_t i = 0; i < a->count; i++) {
		struct lora *l = &a->module[i].lora;

		a->be->release(a->device, l->rows2);
		a->be->release(a->device, l->magnitude.data);
		a->be->release(a->device, l->column_gain);
		if (!a->borrow_grads)
			a->be->release(a->device, l->magnitude.grad);
	}
	a->be->release(a->device, (void *)a->dora.unit);
	a->be->release(a->device, (void *)a->dora.ones);
}
