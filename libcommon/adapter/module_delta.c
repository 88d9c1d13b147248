/* A module's dW by its rows in double, from and to a device. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "module_delta.h"
#include "part_layout.h"

/* A weight as a part of one tensor: the two layouts are the same. */
static struct part_form form_of(const struct weight *w)
{
	return part_whole(w->out, w->kh, w->kw, w->in, true);
}

/* W as floats in a file's order, malloced; NULL: no device memory */
static float *read_weight(const struct adapter *a, const struct weight *w)
{
	const struct part_form form = form_of(w);
	const size_t n = part_count(&form);
	struct weight flat = *w;
	int32_t *row = xmalloc(w->out * sizeof(*row));
	float *device = a->be->alloc(a->device, n * sizeof(*device)), *host = NULL, *file = NULL;

	flat.in *= w->kh * w->kw;
	flat.kh = flat.kw = 1;
	for (int i = 0; i < w->out; i++)
		row[i] = i;
	if (device) {
		host = xmalloc(n * sizeof(*host));
		file = xmalloc(n * sizeof(*file));
		a->be->embedding(a->device, device, &flat, row, w->out);
		a->be->download(a->device, host, device, n * sizeof(*host));
		part_to_file(file, host, &form);
	}
	a->be->release(a->device, device);
	free(row);
	free(host);
	return file;
}

static void read_base(const struct base_rows *b, size_t o, size_t j, size_t n, float *row)
{
	memcpy(row, (const float *)b->from + o * b->columns + j, n * sizeof(*row));
}

static float *read_part(const struct adapter *a, const struct adapter_module *m, int i)
{
	const struct tensor *t = &m->branch.part[i];
	const size_t n = tensor_count(t);
	float *host = xmalloc(n * sizeof(*host)), *file = xmalloc(n * sizeof(*file));

	a->be->download(a->device, host, t->data, n * sizeof(*host));
	part_to_file(file, host, &m->form.part[i]);
	free(host);
	return file;
}

/* dw in a file's order */
static void compute(const struct adapter *a, const struct adapter_module *m, const float *weight, float *dw)
{
	const struct weight *w = layer_weight(m->layer);
	const size_t columns = (size_t)w->in * w->kh * w->kw;
	const struct base_rows base = { read_base, weight, columns };
	struct delta d = { .kind = m->kind, .form = &m->form, .w = w, .scale = 1 };
	double *sum = xmalloc(columns * sizeof(*sum));

	for (int i = 0; i < BRANCH_PARTS; i++)
		if (m->form.part[i].n)
			d.part[i] = read_part(a, m, i);
	delta_begin(&d);
	for (size_t o = 0; o < (size_t)w->out; o++) {
		memset(sum, 0, columns * sizeof(*sum));
		delta_add_rows(&d, o, 1, sum, &base);
		for (size_t j = 0; j < columns; j++)
			dw[o * columns + j] = (float)sum[j];
	}
	delta_end(&d);
	free(sum);
}

int module_delta(const struct adapter *a, const struct adapter_module *m, float *dw)
{
	const struct part_form form = form_of(layer_weight(m->layer));
	const size_t n = part_count(&form);
	float *weight = read_weight(a, layer_weight(m->layer)), *file, *host;

	if (!weight)
		return -1;
	file = xmalloc(n * sizeof(*file));
	host = xmalloc(n * sizeof(*host));
	compute(a, m, weight, file);
	part_to_device(host, file, &form);
	a->be->upload(a->device, dw, host, n * sizeof(*host));
	free(weight);
	free(file);
	free(host);
	return 0;
}
