/* The adapter that a mode of lora-merge writes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../adapter/full.h"
#include "../adapter/keys.h"
#include "../adapter/lengths.h"
#include "../adapter/lora.h"
#include "../adapter/metadata.h"
#include "../base/memory.h"
#include "../base/text.h"
#include "../readers/readers.h"
#include "../model/source.h"
#include "alpha_types.h"
#include "output.h"
#include "sources.h"

struct output {
	const struct family *family;
	const struct unet_config *blocks;
	enum dtype type;
	const struct adapter_target *target;
	bool texts;
	struct safetensors_out *tensor;         /* names malloced */
	size_t count, capacity;
	void **own;                             /* data of tensors that are no input's */
	size_t owns, own_capacity;
	struct target_module *module;           /* in the order added */
	size_t modules, module_capacity;
	size_t lengths, biases;                 /* modules that have them */
	bool by_input;
	struct metadata_list kept;
	struct alpha_types types;
	/* of the adapter that was copied from last */
	const struct adapter_file *from;
	json_t *said;
	/* of all modules */
	int rank;
	double alpha;
	bool any, ranks_differ, alphas_differ;
	char *unfit;                            /* the first module whose alpha no tensor holds; NULL: none */
	double unfit_alpha;
	bool one_type;
	bool made, changed;                     /* some are LoRAs of ours; some are an input's, with another alpha */
};

struct output *output_new(const struct family *family, const struct unet_config *blocks, enum dtype type)
{
	struct output *o = xcalloc(1, sizeof(*o));

	o->family = family;
	o->blocks = blocks;
	o->type = type;
	o->target = &adapter_targets[0];
	return o;
}

void output_of_one_type(struct output *o, bool all)
{
	o->one_type = all;
}

void output_as(struct output *o, const struct adapter_target *target, bool texts)
{
	o->target = target;
	o->texts = texts;
}

void output_free(struct output *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < o->count; i++)
		free((char *)o->tensor[i].name);
	for (size_t i = 0; i < o->owns; i++)
		free(o->own[i]);
	for (size_t i = 0; i < o->modules; i++)
		free(o->module[i].path);
	free(o->unfit);
	free(o->tensor);
	free(o->own);
	free(o->module);
	metadata_free(&o->kept);
	alpha_types_free(&o->types);
	json_decref(o->said);
	free(o);
}

static void put(struct output *o, const struct safetensors_out *t)
{
	GROW(o->tensor, o->count, o->capacity);
	o->tensor[o->count++] = *t;
}

static void *owned(struct output *o, void *data)
{
	GROW(o->own, o->owns, o->own_capacity);
	return o->own[o->owns++] = data;
}

static void note_module(struct output *o, const struct layer *l, const char *stem, int rank, double alpha)
{
	char *path = target_path(o->target, l, stem);

	GROW(o->module, o->modules, o->module_capacity);
	o->module[o->modules++] = (struct target_module){ l->component, path, rank, alpha };
	o->ranks_differ |= o->any && rank != o->rank;
	o->alphas_differ |= o->any && alpha != o->alpha;
	o->any = true;
	o->rank = rank;
	o->alpha = alpha;
}

/* ---- modules ---- */

static const char alpha_name[] = "alpha";

static void put_floats(struct output *o, const char *stem, const char *suffix, int dims, const int64_t shape[4],
		       float *data)
{
	struct safetensors_out t = { .name = xprintf("%s.%s", stem, suffix), .dtype = o->type, .dims = dims,
				     .data = owned(o, data), .floats = true };

	memcpy(t.shape, shape, 4 * sizeof(*shape));
	put(o, &t);
}

/* kept: it is an input's */
static void put_alpha(struct output *o, const char *stem, double alpha, enum dtype type, bool kept)
{
	struct safetensors_out t = { .dtype = type };

	if (o->target->alphas != ALPHAS_IN_TENSORS)
		return;
	if (!kept && !o->unfit && !alpha_fits(alpha)) {
		o->unfit = xstrdup(stem);
		o->unfit_alpha = alpha;
	}
	t.name = xprintf("%s.%s", stem, alpha_name);
	t.data = owned(o, alpha_bytes(alpha, type));
	put(o, &t);
}

/* The shapes of down and up, by the layer. */
static void lora_shape(int64_t shape[4], int *dims, const struct layer *l, int rank, int part)
{
	const struct weight *w = layer_weight(l);
	const int64_t shapes[][4] = { [LORA_DOWN] = { rank, w->in, w->kh, w->kw },
				      [LORA_UP] = { w->out, rank, 1, 1 } };

	*dims = l->convolution ? 4 : 2;
	memcpy(shape, shapes[part], sizeof(shapes[part]));
}

static void put_factor(struct output *o, const char *stem, const struct output_lora *l, int part, float *data)
{
	int64_t shape[4];
	int dims;

	lora_shape(shape, &dims, l->layer, l->rank, part);
	put_floats(o, stem, target_suffix(o->target, &kind_lora, part), dims, shape, data);
}

void output_add_lora(struct output *o, const struct output_lora *l)
{
	char *stem = target_stem(o->target, o->texts, l->layer, o->blocks, &kind_lora, NULL);

	put_factor(o, stem, l, LORA_DOWN, l->down);
	put_factor(o, stem, l, LORA_UP, l->up);
	put_alpha(o, stem, l->alpha, alpha_type_for(l->alpha, o->type), false);
	note_module(o, l->layer, stem, l->rank, l->alpha);
	o->made = true;
	free(stem);
}

void output_add_full(struct output *o, const struct layer *l, float *weight, float *bias)
{
	const struct weight *w = layer_weight(l);
	const int dims = l->norm ? 1 : l->convolution ? 4 : 2;
	const int64_t shape[4] = { w->out, w->in, w->kh, w->kw };
	const char *suffix = l->norm ? target_norm_suffix(o->target, false)
				     : target_suffix(o->target, &kind_full, FULL_DIFF);
	char *stem = target_stem(o->target, o->texts, l, o->blocks, &kind_full, NULL);

	if (weight)
		put_floats(o, stem, suffix, dims, shape, weight);
	if (bias)
		put_floats(o, stem, l->norm ? target_norm_suffix(o->target, true) : o->target->bias, 1, shape, bias);
	o->biases += bias != NULL;
	free(stem);
}

static struct safetensors_out as_it_is(const struct adapter_file *a, const struct safetensor *t)
{
	struct safetensors_out out = { .dtype = t->dtype, .dims = t->dims, .data = safetensors_bytes(a->file, t) };

	memcpy(out.shape, t->shape, sizeof(out.shape));
	return out;
}

/* What a copy has otherwise. */
static void change_part(struct output *o, struct safetensors_out *t, const struct output_change *c)
{
	t->data = owned(o, c->numbers);
	t->floats = true;
	if (!c->exact)
		t->dtype = DTYPE_F32;
}

static void copy_part(struct output *o, const struct adapter_file *a, const struct file_module *m, int part,
		      const char *stem, const struct output_change *c)
{
	const char *norms = m->layer->norm ? target_norm_suffix(o->target, false) : NULL;
	struct safetensors_out t = as_it_is(a, m->part[part]);

	if (m->kind == &kind_lora && !m->part[LORA_MID]) {
		/* a flattened kernel, or 1s behind a matrix: some readers take what their layers have, and no other */
		memset(t.shape, 0, sizeof(t.shape));
		lora_shape(t.shape, &t.dims, m->layer, m->form.rank, part);
	}
	if (c && c->numbers && c->part == part)
		change_part(o, &t, c);
	t.name = xprintf("%s.%s", stem, norms ? norms : target_suffix(o->target, m->kind, part));
	put(o, &t);
}

/* What a bias gets counts with the module's scale at some readers, and alone at others. */
static int copy_bias(struct output *o, const struct adapter_file *a, const struct file_module *m, const char *stem,
		     struct error *e)
{
	const char *norms = m->layer->norm ? target_norm_suffix(o->target, true) : NULL;
	const double scale = kind_scale(m->kind, &m->form, m->alpha);
	struct safetensors_out t = as_it_is(a, m->bias);
	float *x = NULL;

	if (m->bias_scaled != o->target->bias_scaled) {
		x = adapter_file_floats(a, m->bias, true, e);
		if (!x)
			return -1;
		for (size_t i = 0; i < safetensor_elements(m->bias); i++)
			x[i] = (float)(m->bias_scaled ? x[i] * scale : x[i] / scale);
		t.dtype = o->type;
		t.data = owned(o, x);
		t.floats = true;
	}
	t.name = xprintf("%s.%s", stem, norms ? norms : o->target->bias);
	put(o, &t);
	o->biases++;
	return 0;
}

/* [n] for PEFT, with 1s around it on a convolution; else [n,1] or [1,n], with a convolution's 1s behind. */
static void copy_lengths(struct output *o, const struct adapter_file *a, const struct file_module *m, const char *stem,
			 float *others)
{
	const struct weight *w = layer_weight(m->layer);
	const bool by_input = others ? !m->by_input : m->by_input, second = by_input || o->target->row;
	const int64_t n = by_input ? w->in : w->out;
	struct safetensors_out t = as_it_is(a, m->lengths);

	t.name = xprintf("%s.%s", stem, o->target->lengths);
	t.dims = m->layer->convolution ? 4 : o->target->row ? 1 : 2;
	memcpy(t.shape, (int64_t[4]){ second ? 1 : n, second ? n : 1, 1, 1 }, 4 * sizeof(*t.shape));
	if (t.dims == 1)
		t.shape[0] = n;
	if (others) {
		t.dtype = DTYPE_F32;
		t.data = owned(o, others);
	}
	put(o, &t);
	o->lengths++;
	o->by_input = by_input;
}

static void copy_alpha(struct output *o, const struct adapter_file *a, const struct file_module *m, const char *stem,
		       bool kept)
{
	const bool tensors = o->target->alphas == ALPHAS_IN_TENSORS, back = o->target == &adapter_targets[0];
	int was, written;

	if (o->from != a) {
		json_decref(o->said);
		o->said = alpha_types_said(a->file);
		o->from = a;
	}
	was = alpha_type_was(o->said, a, m);
	written = back && was == ALPHA_ABSENT ? ALPHA_ABSENT : was < 0 ? (int)alpha_type_new(m) : was;
	if (written >= 0)
		put_alpha(o, stem, m->alpha, written, kept);
	alpha_types_add(&o->types, m->layer, was,
			was == ALPHA_UNSAID || was == (tensors ? written : (int)alpha_type_new(m)));
}

int output_copy_bias(struct output *o, const struct adapter_file *a, const struct file_module *m, struct error *e)
{
	char *stem = m->bias ? target_stem(o->target, o->texts, m->layer, o->blocks, m->kind, &m->form) : NULL;
	const int status = stem ? copy_bias(o, a, m, stem, e) : 0;

	free(stem);
	return status;
}

void output_copy_lengths(struct output *o, const struct adapter_file *a, const struct file_module *m)
{
	char *stem = m->lengths ? target_stem(o->target, o->texts, m->layer, o->blocks, m->kind, &m->form) : NULL;

	if (stem)
		copy_lengths(o, a, m, stem, NULL);
	free(stem);
}

static int copy_module(struct output *o, const struct adapter_file *a, const struct file_module *m,
		       const struct output_change *c, struct error *e)
{
	char *stem = target_stem(o->target, o->texts, m->layer, o->blocks, m->kind, &m->form);

	for (int i = 0; i < BRANCH_PARTS; i++)
		if (m->part[i])
			copy_part(o, a, m, i, stem, c);
	if (m->lengths)
		copy_lengths(o, a, m, stem, c ? c->lengths : NULL);
	if (!m->kind->no_alpha)
		copy_alpha(o, a, m, stem, !c);
	note_module(o, m->layer, stem, m->form.rank, m->alpha);
	free(stem);
	if (!c || !c->bias)
		return output_copy_bias(o, a, m, e);
	output_add_full(o, m->layer, NULL, c->bias);
	return 0;
}

int output_copy(struct output *o, const struct adapter_file *a, const struct file_module *m, struct error *e)
{
	return copy_module(o, a, m, NULL, e);
}

int output_copy_changed(struct output *o, const struct adapter_file *a, const struct file_module *m,
			const struct output_change *c, struct error *e)
{
	struct file_module changed = *m;

	changed.alpha = c->alpha;
	o->changed = true;
	return copy_module(o, a, &changed, c, e);
}

/* ---- the file ---- */

static size_t elements(const struct safetensors_out *t)
{
	size_t n = 1;

	for (int i = 0; i < t->dims; i++)
		n *= t->shape[i];
	return n;
}

static void round_all(struct output *o)
{
	for (size_t i = 0; i < o->count; i++) {
		struct safetensors_out *t = &o->tensor[i];
		const size_t n = elements(t);

		if (t->dtype == o->type || !dtype_is_float(t->dtype) || text_ends(t->name, ".alpha"))
			continue;
		if (!t->floats) {
			float *x = owned(o, xmalloc(n * sizeof(*x)));

			to_float(x, t->data, t->dtype, n);
			t->data = x;
			t->floats = true;
		}
		t->dtype = o->type;
	}
}

static int check_finite(const struct output *o, const char *path, struct error *e)
{
	if (o->unfit)
		return fail(e, EXIT_INPUT,
			    "%s: not written: '%.200s.alpha' would be %g, which no F32 holds; %s the weights", path,
			    o->unfit, o->unfit_alpha, fabs(o->unfit_alpha) > 1 ? "lower" : "raise");
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

/* ---- the metadata ---- */

struct metadata_list *output_said(struct output *o)
{
	return &o->kept;
}

/* Those of one component; malloced */
static struct target_module *modules_of(const struct output *o, enum component c, size_t *count)
{
	struct target_module *m = xcalloc(o->modules + 1, sizeof(*m));

	*count = 0;
	for (size_t i = 0; i < o->modules; i++)
		if (o->module[i].component == c)
			m[(*count)++] = o->module[i];
	return m;
}

/* diffusers reads a component's modules by its own configuration as soon as there is one of any component. */
static void tell_alphas(const struct output *o, struct metadata_list *list)
{
	struct json_out j = { 0 };

	json_begin(&j, NULL);
	for (int i = 0; i < ADAPTED; i++) {
		char *prefix = xprintf("%s.", part_names[adapted_part(i)].folder);
		size_t count;
		struct target_module *m = modules_of(o, adapted_part(i), &count);

		if (count)
			target_config(&j, prefix, m, count, o->lengths > 0, o->biases > 0);
		free(m);
		free(prefix);
	}
	json_end(&j);
	metadata_text(list, LORA_METADATA_KEY, j.text.data);
	json_free(&j);
}

static void forget(struct metadata_list *list, const char *key)
{
	size_t n = 0;

	for (size_t i = 0; i < list->count; i++) {
		struct metadata *m = &list->item[i];

		if (strcmp(m->key, key)) {
			list->item[n++] = *m;
			continue;
		}
		free((char *)m->key);
		free((char *)m->value);
	}
	list->count = n;
}

/* What trainers' own metadata says of a network is still true where nothing was made anew. */
static void tell_network(const struct output *o, struct metadata_list *list)
{
	if (!o->made && !o->changed && metadata_find(list, "ss_network_dim"))
		return;
	if (o->made)
		forget(list, "ss_network_args");
	if (o->made || !metadata_find(list, "ss_network_module")) {
		metadata_text(list, "ss_network_module", kind_lora.module);
		metadata_instead(list);
	}
	if (o->ranks_differ)
		metadata_text(list, "ss_network_dim", "Dynamic");
	else
		metadata_int(list, "ss_network_dim", o->rank);
	metadata_instead(list);
	if (o->alphas_differ)
		metadata_text(list, "ss_network_alpha", "Dynamic");
	else
		metadata_float(list, "ss_network_alpha", o->alpha);
	metadata_instead(list);
}

static void tell(const struct output *o, const char *path, struct metadata_list *list)
{
	char *whole;

	for (size_t i = 0; i < o->kept.count; i++)
		metadata_text(list, o->kept.item[i].key, o->kept.item[i].value);
	metadata_text(list, "ss_base_model_version", o->family->base_model_version);
	metadata_instead(list);
	name_tell(path, list);
	tell_network(o, list);
	if (o->lengths && !o->target->row) {
		metadata_text(list, DORA_AXIS_KEY, o->by_input ? "input" : "output");
		metadata_instead(list);
	}
	if (o->target->alphas != ALPHAS_IN_TENSORS)
		metadata_text(list, "format", "pt");
	if (o->target->alphas == ALPHAS_IN_HEADER)
		tell_alphas(o, list);
	alpha_types_tell(&o->types, list);
	metadata_add_modelspec(list, o->family);
	metadata_add_hashes(list, o->tensor, o->count);
	whole = xprintf("0x%s", metadata_find(list, "sshs_model_hash"));
	metadata_text(list, "modelspec.hash_sha256", whole);
	free(whole);
}

/* ---- the file, or folder ---- */

/* named: what the user calls it */
static int save_file(const struct output *o, const char *path, const char *named, struct error *e)
{
	struct metadata_list list = { 0 };
	int status;

	tell(o, named, &list);
	status = safetensors_save(path, o->tensor, o->count, list.item, list.count, e);
	metadata_free(&list);
	return status;
}

static int save_config(const struct output *o, const char *path, struct error *e)
{
	struct json_out j = { 0 };
	int status;

	json_begin(&j, NULL);
	target_config(&j, "", o->module, o->modules, o->lengths > 0, o->biases > 0);
	json_end(&j);
	buffer_adds(&j.text, "\n");
	status = publish_bytes(path, j.text.data, j.text.len, e);
	json_free(&j);
	return status;
}

static int save_folder(const struct output *o, const char *path, struct error *e)
{
	struct publish_folder *out = publish_folder_begin(path, e);
	char *tensors, *config;
	int status;

	if (!out)
		return -1;
	tensors = path_join(publish_folder_path(out), ADAPTER_IN_FOLDER);
	config = path_join(publish_folder_path(out), PEFT_CONFIG_NAME);
	status = save_file(o, tensors, path, e);
	if (!status)
		status = save_config(o, config, e);
	free(tensors);
	free(config);
	if (!status)
		return publish_folder_end(out, e);
	publish_folder_abandon(out);
	return -1;
}

int output_save(struct output *o, const char *path, struct error *e)
{
	if (o->one_type)
		round_all(o);
	if (check_finite(o, path, e))
		return -1;
	if (o->target->alphas == ALPHAS_BESIDE ? save_folder(o, path, e) : save_file(o, path, path, e))
		return -1;
	readers_note(path);
	return 0;
}
