/* Writing an adapter's file. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include "../base/memory.h"
#include "adapter.h"
#include "metadata.h"
#include "part_layout.h"

static void put_part(const struct adapter *a, const struct adapter_module *m, int i, struct safetensors_out *t)
{
	const struct part_form *p = &m->form.part[i];
	const size_t bytes = part_count(p) * sizeof(float);
	float *device = xmalloc(bytes), *file = xmalloc(bytes);

	a->be->download(a->device, device, m->branch.part[i].data, bytes);
	part_to_file(file, device, p);
	free(device);
	*t = (struct safetensors_out){
		.name = xprintf("%s.%s", m->name, adapter_part_suffix(m, i)),
		.dtype = DTYPE_F32,
		.dims = p->dims,
		.data = file,
		.floats = true,
	};
	for (int k = 0; k < 4; k++)
		t->shape[k] = p->shape[k];
}

static void put_alpha(const struct adapter_module *m, struct safetensors_out *t)
{
	float *alpha = xmalloc(sizeof(float));

	*alpha = (float)m->alpha;
	*t = (struct safetensors_out){
		.name = xprintf("%s.alpha", m->name), .dtype = DTYPE_F32, .data = alpha, .floats = true
	};
}

size_t adapter_tensors(const struct adapter *a, struct safetensors_out **out)
{
	struct safetensors_out *t = xcalloc((BRANCH_PARTS + 1) * a->count + 1, sizeof(*t));
	size_t n = 0;

	for (size_t i = 0; i < a->count; i++) {
		const struct adapter_module *m = &a->module[i];

		for (int k = 0; k < BRANCH_PARTS; k++)
			if (m->form.part[k].n)
				put_part(a, m, k, &t[n++]);
		if (!m->kind->no_alpha)
			put_alpha(m, &t[n++]);
	}
	*out = t;
	return n;
}

void adapter_tensors_free(struct safetensors_out *t, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free((char *)t[i].name);
		free((void *)t[i].data);
	}
	free(t);
}

static size_t elements(const struct safetensors_out *t)
{
	size_t n = 1;

	for (int i = 0; i < t->dims; i++)
		n *= t->shape[i];
	return n;
}

/* What still rounds to a finite number of the type. */
static float greatest(enum dtype t)
{
	return t == DTYPE_F16 ? 65519.0f : t == DTYPE_BF16 ? 3.39e38f : FLT_MAX;
}

static int check_finite(const struct safetensors_out *t, const char *path, struct error *e)
{
	const float *x = t->data;

	for (size_t i = 0, n = elements(t); i < n; i++)
		if (!(fabsf(x[i]) <= greatest(t->dtype)))
			return fail(e, EXIT_DIVERGED,
				    "%s: not written: '%s' holds %g, which is no finite %s; lower the learning rate",
				    path, t->name, (double)x[i], dtype_name(t->dtype));
	return 0;
}

int adapter_save(const struct adapter *a, const char *path, enum dtype precision, const struct metadata *metadata,
		 size_t count, struct error *e)
{
	struct metadata_list list = { 0 };
	struct safetensors_out *t;
	size_t n = adapter_tensors(a, &t);
	int status = 0;

	for (size_t i = 0; i < n && !status; i++) {
		t[i].dtype = precision;
		status = check_finite(&t[i], path, e);
	}
	for (size_t i = 0; i < count; i++)
		metadata_text(&list, metadata[i].key, metadata[i].value);
	if (a->dora)
		metadata_text(&list, DORA_AXIS_KEY, dora_axis_name(a->dora));
	if (a->count && a->module[0].kind->tell)
		a->module[0].kind->tell(&a->module[0].form, &list);
	metadata_add_modelspec(&list, a->count ? a->module[0].layer->family : NULL);
	if (!status) {
		metadata_add_hashes(&list, t, n);
		status = safetensors_save(path, t, n, list.item, list.count, e);
	}
	metadata_free(&list);
	adapter_tensors_free(t, n);
	return status;
}
