/* The adapter that a mode of lora-merge writes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../adapter/keys.h"
#include "../adapter/lengths.h"
#include "../adapter/lora.h"
#include "../adapter/metadata.h"
#include "../base/memory.h"
#include "output.h"

struct output {
	const struct family *family;
	const struct unet_config *blocks;
	enum dtype type;
	struct safetensors_out *tensor;         /* name malloced; data malloced where it is floats */
	size_t count, capacity;
	/* of all modules; mixed: they differ */
	int rank;
	double alpha;
	bool any, mixed;
};

struct output *output_new(const struct family *family, const struct unet_config *blocks, enum dtype type)
{
	struct output *o = xcalloc(1, sizeof(*o));

	o->family = family;
	o->blocks = blocks;
	o->type = type;
	return o;
}

void output_free(struct output *o)
{
	for (size_t i = 0; o && i < o->count; i++) {
		free((char *)o->tensor[i].name);
		if (o->tensor[i].floats)
			free((void *)o->tensor[i].data);
	}
	if (o)
		free(o->tensor);
	free(o);
}

static void put(struct output *o, const struct safetensors_out *t)
{
	GROW(o->tensor, o->count, o->capacity);
	o->tensor[o->count++] = *t;
}

static void note_rank(struct output *o, int rank, double alpha)
{
	o->mixed |= o->any && (rank != o->rank || alpha != o->alpha);
	o->any = true;
	o->rank = rank;
	o->alpha = alpha;
}

/* ---- modules ---- */

static void put_floats(struct output *o, const char *stem, const char *suffix, int dims, const int64_t shape[4],
		       float *data)
{
	struct safetensors_out t = { .name = xprintf("%s.%s", stem, suffix), .dtype = o->type, .dims = dims,
				     .data = data, .floats = true };

	memcpy(t.shape, shape, 4 * sizeof(*shape));
	put(o, &t);
}

void output_add_lora(struct output *o, const struct output_lora *l)
{
	const struct weight *w = layer_weight(l->layer);
	const int dims = l->layer->convolution ? 4 : 2;
	const int64_t down[4] = { l->rank, w->in, w->kh, w->kw }, up[4] = { w->out, l->rank, 1, 1 }, one[4] = { 0 };
	char *stem = kohya_stem(l->layer, o->blocks);
	float *alpha = xmalloc(sizeof(*alpha));

	*alpha = (float)l->alpha;
	put_floats(o, stem, kind_part_suffix(&kind_lora, LORA_DOWN), dims, down, l->down);
	put_floats(o, stem, kind_part_suffix(&kind_lora, LORA_UP), dims, up, l->up);
	put_floats(o, stem, "alpha", 0, one, alpha);
	note_rank(o, l->rank, l->alpha);
	free(stem);
}

static void copy_tensor(struct output *o, const struct adapter_file *a, const struct safetensor *t, const char *stem,
			const char *suffix)
{
	struct safetensors_out out = { .name = xprintf("%s.%s", stem, suffix), .dtype = t->dtype, .dims = t->dims,
				       .data = safetensors_bytes(a->file, t) };

	memcpy(out.shape, t->shape, sizeof(out.shape));
	put(o, &out);
}

void output_copy(struct output *o, const struct adapter_file *a, const struct file_module *m)
{
	char *stem = kohya_stem(m->layer, o->blocks);
	float *alpha;

	for (int i = 0; i < BRANCH_PARTS; i++)
		if (m->part[i])
			copy_tensor(o, a, m->part[i], stem, kind_part_suffix(m->kind, i));
	if (m->lengths)
		copy_tensor(o, a, m->lengths, stem, LENGTHS_SUFFIX);
	if (m->alpha_tensor) {
		copy_tensor(o, a, m->alpha_tensor, stem, "alpha");
	} else if (!m->kind->no_alpha) {
		alpha = xmalloc(sizeof(*alpha));
		*alpha = (float)m->alpha;
		put_floats(o, stem, "alpha", 0, (const int64_t[4]){ 0 }, alpha);
	}
	note_rank(o, m->form.rank, m->alpha);
	free(stem);
}

/* ---- the file ---- */

static size_t elements(const struct safetensors_out *t)
{
	size_t n = 1;

	for (int i = 0; i < t->dims; i++)
		n *= t->shape[i];
	return n;
}

static int check_finite(const struct output *o, const char *path, struct error *e)
{
	for (size_t i = 0; i < o->count; i++) {
		const struct safetensors_out *t = &o->tensor[i];
		const double most = t->dtype == DTYPE_F16 ? 65519 : 3.38e38;
		const float *x = t->data;

		for (size_t k = 0, n = t->floats ? elements(t) : 0; k < n; k++)
			if (!(fabs((double)x[k]) <= most))
				return fail(e, EXIT_INPUT,
					    "%s: not written: '%.200s' would hold %g, which is no finite %s; lower the "
					    "weights",
					    path, t->name, (double)x[k], dtype_name(t->dtype));
	}
	return 0;
}

static void tell(const struct output *o, struct metadata_list *list)
{
	metadata_text(list, "ss_base_model_version", o->family->base_model_version);
	metadata_text(list, "ss_network_module", kind_lora.module);
	if (o->mixed) {
		metadata_text(list, "ss_network_dim", "Dynamic");
		metadata_text(list, "ss_network_alpha", "Dynamic");
	} else {
		metadata_int(list, "ss_network_dim", o->rank);
		metadata_float(list, "ss_network_alpha", o->alpha);
	}
	metadata_add_modelspec(list, o->family);
	metadata_add_hashes(list, o->tensor, o->count);
}

int output_save(struct output *o, const char *path, struct error *e)
{
	struct metadata_list list = { 0 };
	int status;

	if (check_finite(o, path, e))
		return -1;
	tell(o, &list);
	status = safetensors_save(path, o->tensor, o->count, list.item, list.count, e);
	metadata_free(&list);
	return status;
}
