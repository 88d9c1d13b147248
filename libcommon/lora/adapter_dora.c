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

/* [out], malloced; NULL: no memory.  Looked up like an embedding's rows, so any device and type will do. */
static float *base_rows2(struct adapter *a, const struct weight *w)
{
	const size_t fan = (size_t)w->in * w->kh * w->kw;
	struct weight flat = *w;
	int rows = PART / fan ? PART / fan : 1, i;
	float *out = xmalloc(w->out * sizeof(*out)), *device, *host;
	int32_t *ids = xmalloc(w->out * sizeof(*ids));

	flat.in = fan;
	flat.kh = flat.kw = 1;
	rows = rows < w->out ? rows : w->out;
	device = a->be->alloc(a->device, rows * fan * sizeof(*device));
	host = xmalloc(rows * fan * sizeof(*host));
	for (i = 0; i < w->out; i++)
		ids[i] = i;
	for (i = 0; device && i < w->out; i += rows) {
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

static int add_magnitude(struct adapter *a, struct adapter_module *m, const float *magnitude, double weight, bool trainable, struct error *e)
{
	m->lora.dora = &a->dora;
	m->lora.weight = weight;
	m->lora.scale = (float)(m->alpha / m->rank);
	m->lora.magnitude = (struct tensor){ .n = 1, .h = 1, .w = 1, .c = m->lora.up.n };
	if (put_rows2(a, m) < 0 || put_magnitude(a, m, magnitude, trainable) < 0)
		return fail(e, EXIT_MEMORY, "no device memory for the magnitudes of '%s'; use a device with more memory", m->stem);
	return 0;
}

static int add_from_file(struct adapter *a, struct adapter_module *m, const struct adapter_file *f, const struct file_module *in,
			 double weight, bool trainable, struct error *e)
{
	float *magnitude;
	int status;

	if (in->by_input)
		return fail(e, EXIT_INPUT, "%s: '%.200s' has DoRA's lengths by input, which only lora-merge applies; merge it into the model",
			    f->file->path, in->name);
	if (backend_is_dry(a->be))
		return add_magnitude(a, m, NULL, weight, trainable, e);
	magnitude = adapter_file_floats(f, in->magnitude, true, e);
	status = magnitude ? add_magnitude(a, m, magnitude, weight, trainable, e) : -1;
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
		if (!a->borrow_grads)
			a->be->release(a->device, l->magnitude.grad);
	}
	a->be->release(a->device, (void *)a->dora.unit);
	a->be->release(a->device, (void *)a->dora.ones);
}
