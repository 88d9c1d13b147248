/* An adapter file's tensors, sorted into modules and checked. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../base/map.h"
#include "../base/memory.h"
#include "../model/family.h"
#include "adapter_sort.h"
#include "full.h"
#include "keys.h"
#include "lengths.h"
#include "lengths_axis.h"
#include "made_for.h"

static int refuse_method(const char *path, const char *name, const char *method, struct error *e)
{
	if (!method)
		return fail(e, EXIT_INPUT,
			    "%s: tensor '%.200s' is no part of a LoRA adapter; lora-inspect says what the file is",
			    path, name);
	return fail(e, EXIT_INPUT, "%s: %s is not yet supported (tensor '%.200s'); use a plain LoRA", path, method,
		    name);
}

static const struct safetensor **slot_of(struct file_module *m, int part)
{
	switch (part) {
	case PART_ALPHA: return &m->alpha_tensor;
	case PART_LENGTHS: return &m->lengths;
	case PART_BIAS:
	case PART_SCALED_BIAS: return &m->bias;
	case PART_SCALE: return &m->scale;
	case PART_SCALAR: return &m->scalar;
	default: return &m->part[part];
	}
}

/* The module's name is kept for messages. */
int adapter_sort_into(struct file_module *m, const struct safetensors *s, const struct safetensor *t,
		      const struct key_part *part, struct error *e)
{
	const struct safetensor **slot = slot_of(m, part->part);
	struct key_part same;

	if (part->kind && m->kind && m->kind != part->kind)
		return fail(
			e, EXIT_INPUT,
			"%s: '%.200s' belongs to a %s on a layer that has a %s already; the file mixes two adapters",
			s->path, t->name, part->kind->name, m->kind->name);
	if (*slot)
		return fail(e, EXIT_INPUT,
			    "%s: '%.200s' and '%.200s' are the same tensor of one layer; the file mixes two dialects",
			    s->path, (*slot)->name, t->name);
	*slot = t;
	m->bias_scaled |= part->part == PART_SCALED_BIAS;
	if (part->kind)
		m->kind = part->kind;
	if (!m->name)
		m->name = xstrndup(t->name, adapter_key_split(t->name, &same));
	return 0;
}

static bool is_absent(const struct adapter_sorting *s, const char *tensor_name)
{
	const struct family *f = s->layers->count ? s->layers->layer[0].family : NULL;
	const char *dialect;
	const int c = adapter_key_component(tensor_name, &dialect);

	return f && c >= 0 && is_text_encoder(c) && !s->listed[c] && f->parts & PART(c);
}

static void miss(struct adapter_sorting *s, const char *tensor_name)
{
	const bool absent = is_absent(s, tensor_name);
	const char **first = absent ? &s->first_absent : &s->first_miss;

	*(absent ? &s->absent : &s->misses) += 1;
	if (!*first)
		*first = tensor_name;
}

static int sort_tensor(struct adapter_sorting *out, const struct safetensors *s, const struct safetensor *t,
		       const struct key_index *k, struct error *e)
{
	struct key_part part;
	const char *dialect;
	long layer;

	if (!adapter_key_split(t->name, &part))
		return refuse_method(s->path, t->name, NULL, e);
	if (part.part == PART_EMBEDDING)
		return 0;
	layer = key_index_find(k, t->name, &part, &dialect);
	if (layer < 0) {
		miss(out, t->name);
		return 0;
	}
	if (!out->dialect)
		out->dialect = dialect;
	out->module[layer].layer = &out->layers->layer[layer];
	return adapter_sort_into(&out->module[layer], s, t, &part, e);
}

/* Before anything else: the tensor that tells a method need not be the file's first. */
static int refuse_others(const struct safetensors *s, struct error *e)
{
	struct key_part part;

	for (size_t i = 0; i < s->count; i++)
		if (adapter_key_split(s->tensor[i].name, &part) && part.part == PART_OTHER)
			return refuse_method(s->path, s->tensor[i].name, part.method, e);
	return 0;
}

int adapter_sort(struct adapter_sorting *out, const struct safetensors *s, const struct layer_list *layers,
		 struct error *e)
{
	struct unet_config config;
	struct key_index *k;
	int status = refuse_others(s, e);

	layers_config(layers, &config);
	k = key_index_new(layers, &config);
	*out = (struct adapter_sorting){ .layers = layers, .module = xcalloc(layers->count + 1, sizeof(*out->module)) };
	for (size_t i = 0; i < layers->count; i++)
		out->listed[layers->layer[i].component] = true;
	for (size_t i = 0; i < s->count && !status; i++)
		status = sort_tensor(out, s, &s->tensor[i], k, e);
	key_index_free(k);
	return status;
}

/* What its kind wants to know beside shapes and alpha. */
static int settle(struct alpha_sources *sources, struct file_module *m, struct error *e)
{
	struct kind_source s = { .file = alpha_sources_file(sources), .name = m->name,
				 .convolution = m->layer->convolution, .alpha = m->alpha };

	if (!m->kind->settle)
		return 0;
	if (alpha_sources_config(sources, &s.config, &s.config_path, e) < 0)
		return -1;
	return m->kind->settle(&m->form, layer_weight(m->layer), &s, e);
}

static int read_alpha(struct alpha_sources *sources, struct file_module *m, struct error *e)
{
	const struct alpha_question q = { .name = m->name,
					  .length = strlen(m->name),
					  .component = m->layer->component,
					  .path = m->layer->name,
					  .tensor = m->alpha_tensor,
					  .scale = m->scale,
					  .scalar = m->scalar,
					  .lengths = m->lengths != NULL,
					  .rank = m->form.rank,
					  .none = m->kind->no_alpha,
					  .peft = m->kind->peft };
	struct module_alpha alpha;

	if (alpha_of(sources, &q, &alpha, e) < 0)
		return -1;
	m->alpha = alpha.value;
	m->origin = alpha.origin;
	return settle(sources, m, e);
}

/* The end of a message of which the cause may be another model; family NULL: the present one's is not known. */
static const char *whose(const struct safetensors *s, const struct family *family, char text[100])
{
	const char *model = adapter_made_for(s);

	if (!model || (family && !strncmp(family->title, model, strlen(model))))
		return "is the adapter for another model?";
	snprintf(text, 100, "the adapter is for %s", model);
	return text;
}

static int wrong_shape(const struct safetensors *s, const struct file_module *m, const struct weight *w,
		       struct error *e)
{
	char text[100];

	if (!w->out)                            /* no model's: its tensors would have told */
		return fail(e, EXIT_INPUT, "%s: the shapes of '%.200s' do not belong together", s->path, m->name);
	return fail(e, EXIT_INPUT,
		    "%s: the shapes of '%.200s' do not fit the model's layer %s (%d inputs, %d outputs, kernel %dx%d); "
		    "%s", s->path, m->name, m->layer->name, w->in, w->out, w->kh, w->kw,
		    whose(s, m->layer->family, text));
}

static int wrong_type(const struct safetensors *s, const char *name, enum dtype type, struct error *e)
{
	return fail(e, EXIT_INPUT, "%s: '%.200s' is %s; adapters must be F32, F16, BF16 or F8", s->path, name,
		    dtype_name(type));
}

/* either: where nothing tells, they are said to be of outputs */
static int check_lengths(const struct safetensors *s, struct file_module *m, const struct weight *w, bool either,
			 struct error *e)
{
	const struct safetensor *t = m->lengths;
	enum lengths_axis axis;

	if (!t)
		return 0;
	if (!dtype_is_float(t->dtype))
		return wrong_type(s, t->name, t->dtype, e);
	axis = lengths_axis_of(s, t, w->out, w->in);
	if (axis == LENGTHS_MISFIT)
		return wrong_shape(s, m, w, e);
	if (axis == LENGTHS_EITHER && !either)
		return fail(
			e, EXIT_INPUT,
			"%s: '%.200s' is a DoRA's row of %lld lengths on a square layer, and nothing says whether they "
			"are of its outputs or its inputs; use a file with the shape [out,1] or [1,in]",
			s->path, t->name, (long long)t->shape[0]);
	m->by_input = axis == LENGTHS_INPUT;
	return 0;
}

static int check_types(const struct safetensors *s, const struct file_module *m, struct error *e)
{
	for (int i = 0; i < BRANCH_PARTS; i++)
		if (m->part[i] && !dtype_is_float(m->part[i]->dtype))
			return wrong_type(s, m->name, m->part[i]->dtype, e);
	return 0;
}

static int check_bias(const struct safetensors *s, const struct file_module *m, const struct weight *w,
		      struct error *e)
{
	char text[100];

	if (!m->bias)
		return 0;
	if (!dtype_is_float(m->bias->dtype))
		return wrong_type(s, m->bias->name, m->bias->dtype, e);
	if (safetensor_elements(m->bias) != (size_t)w->out)
		return wrong_shape(s, m, w, e);
	if (m->layer->bias)
		return 0;
	return fail(e, EXIT_INPUT, "%s: '%.200s' changes the bias of a layer that has none; %s", s->path, m->bias->name,
		    whose(s, m->layer->family, text));
}

/* Gain and bias of a norm are only added to. */
static int check_norm(const struct safetensors *s, const struct file_module *m, struct error *e)
{
	if (!m->layer->norm || (m->kind == &kind_full && !m->lengths))
		return 0;
	return fail(e, EXIT_INPUT, "%s: '%.200s' is a %s of a norm, which has no matrix; is the file damaged?", s->path,
		    m->name, m->lengths ? "DoRA" : m->kind->name);
}

static int incomplete(const struct safetensors *s, const struct file_module *m, int part, struct error *e)
{
	char *name = kind_part_name(m->kind, part);

	fail(e, EXIT_INPUT, "%s: '%.200s' has no %s; the file is incomplete", s->path, m->name, name);
	free(name);
	return -1;
}

static int check_module(const struct adapter_file *a, struct alpha_sources *sources, struct file_module *m,
			struct error *e)
{
	const struct safetensors *s = a->file;
	const struct weight *w = layer_weight(m->layer);
	int missing;

	if (!m->kind)                           /* a bias alone; or an alpha or lengths, which make no module */
		m->kind = m->bias && !m->bias_scaled ? &kind_full : adapter_kinds[0];
	if (m->kind->other && m->kind->other(m->part))
		return refuse_method(s->path, m->name, m->kind->other(m->part), e);
	missing = m->kind->missing(m->part);
	if (missing >= 0)
		return incomplete(s, m, missing, e);
	if (check_types(s, m, e) < 0 || check_norm(s, m, e) < 0)
		return -1;
	if (!kind_form_of_file(m->kind, &m->form, w, m->part))
		return wrong_shape(s, m, w, e);
	if (check_lengths(s, m, w, a->by_names, e) < 0 || check_bias(s, m, w, e) < 0)
		return -1;
	return read_alpha(sources, m, e);
}

static int check_modules(struct adapter_file *a, struct error *e)
{
	struct alpha_sources *sources = alpha_sources_new(a->file);
	int status = 0;

	for (size_t i = 0; i < a->count && !status; i++) {
		status = check_module(a, sources, &a->module[i], e);
		a->lengths += a->module[i].lengths != NULL;
	}
	alpha_sources_free(sources);
	return status;
}

/* Embeddings are of no layer, and nothing here uses them. */
static void tell_embeddings(const struct safetensors *s)
{
	struct map *seen = map_new(16);
	struct buffer names = { 0 };
	struct key_part part;

	for (size_t i = 0; i < s->count; i++) {
		const char *name = s->tensor[i].name;
		const size_t n = adapter_key_split(name, &part), first = strcspn(name, ".") + 1;

		if (n <= first || part.part != PART_EMBEDDING || map_put(seen, name, n, 0) >= 0)
			continue;
		buffer_addf(&names, "%s%.*s", names.len ? ", " : "", (int)(n - first), name + first);
	}
	if (names.len)
		note("%s: the embeddings in it are not used: %.500s", s->path, names.data);
	buffer_free(&names);
	map_free(seen);
}

/* what: the model, in messages */
static int check_found(const struct adapter_file *a, const struct adapter_sorting *s, const char *what, struct error *e)
{
	char text[100];

	if (!a->count && !s->misses && !s->absent)
		return fail(e, EXIT_INPUT, "%s: holds no adapter, it has no tensors", a->file->path);
	if (!a->count && s->misses)
		return fail(e, EXIT_INPUT,
			"%s: none of its %zu tensors fits a layer of %s (the first is '%.200s'); %s",
			a->file->path, s->misses, what, s->first_miss, whose(a->file, a->family, text));
	if (s->misses)
		return fail(e, EXIT_INPUT,
			"%s: %zu of its %zu tensors fit no layer of %s, the first is '%.200s'; %s",
			a->file->path, s->misses, a->file->count, what, s->first_miss, whose(a->file, a->family, text));
	if (s->absent)
		return fail(e, EXIT_INPUT, "%s: %zu of its %zu tensors are for a text encoder that is not here, the "
			    "first is '%.200s'; merge it into a whole model with lora-merge, and use that",
			    a->file->path, s->absent, a->file->count, s->first_absent);
	return 0;
}

int adapter_file_take(struct adapter_file *a, struct adapter_sorting *s, const char *what,
		      void (*place)(struct adapter_file *a, struct file_module *m), struct error *e)
{
	a->module = xcalloc(s->layers->count + 1, sizeof(*a->module));
	for (size_t i = 0; i < s->layers->count; i++)
		if (s->module[i].layer)
			a->module[a->count++] = s->module[i];
	free(s->module);
	s->module = NULL;
	a->dialect = s->dialect;
	a->family = s->layers->count ? s->layers->layer[0].family : NULL;
	layers_config(s->layers, &a->blocks);
	if (check_found(a, s, what, e))
		return -1;
	tell_embeddings(a->file);
	for (size_t i = 0; place && i < a->count; i++)
		place(a, &a->module[i]);
	return check_modules(a, e);
}

void adapter_sorting_free(struct adapter_sorting *s)
{
	for (size_t i = 0; s->module && i < s->layers->count; i++)
		free(s->module[i].name);
	free(s->module);
}

struct safetensors *adapter_file_tensors(const char *path, struct error *e)
{
	struct safetensors *file = NULL;
	char *name;

	if (adapter_named(path, &name, e) == 0)
		file = safetensors_open(name, e);
	free(name);
	return file;
}

/* What may be without a layer. */
enum without { NOTHING, ABSENT, ANYTHING };

static struct adapter_file *open_on(const char *path, const struct layer_list *layers, enum without without,
				    struct error *e)
{
	struct adapter_file *a = xcalloc(1, sizeof(*a));
	struct adapter_sorting s = { 0 };
	int status = -1;

	a->file = adapter_file_tensors(path, e);
	if (a->file)
		status = adapter_sort(&s, a->file, layers, e);
	if (without == ANYTHING)
		s.misses = 0;
	if (without != NOTHING) {
		a->absent = s.absent;
		s.absent = 0;
	}
	if (!status)
		status = adapter_file_take(a, &s, "this model", NULL, e);
	adapter_sorting_free(&s);
	if (!status)
		return a;
	adapter_file_close(a);
	return NULL;
}

struct adapter_file *adapter_file_open(const char *path, const struct layer_list *layers, struct error *e)
{
	return open_on(path, layers, NOTHING, e);
}

struct adapter_file *adapter_file_open_some(const char *path, const struct layer_list *layers, struct error *e)
{
	return open_on(path, layers, ANYTHING, e);
}

struct adapter_file *adapter_file_open_present(const char *path, const struct layer_list *layers, struct error *e)
{
	return open_on(path, layers, ABSENT, e);
}

void adapter_file_close(struct adapter_file *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->count; i++)
		free(a->module[i].name);
	for (size_t i = 0; a->own && i < a->count; i++)
		free(a->own[i].layer.name);
	free(a->own);
	free(a->module);
	if (!a->lent)
		safetensors_close(a->file);
	free(a);
}

const struct file_module *adapter_file_module(const struct adapter_file *a, const struct layer *l)
{
	for (size_t i = 0; a && i < a->count; i++)
		if (a->module[i].layer == l)
			return &a->module[i];
	return NULL;
}

float *adapter_file_floats(const struct adapter_file *a, const struct safetensor *t, bool finite, struct error *e)
{
	size_t n = safetensor_elements(t);
	float *x = safetensors_floats(a->file, t->name, n, e);

	for (size_t i = 0; x && finite && i < n; i++)
		if (!isfinite(x[i])) {
			free(x);
			fail(e, EXIT_INPUT,
			     "%s: '%.200s' holds NaN or infinity; the adapter is broken, use an earlier save",
			     a->file->path, t->name);
			return NULL;
		}
	return x;
}

float lengths_eps(const struct file_module *m)
{
	const size_t n = strlen(m->lengths->name), k = strlen(LENGTHS_SUFFIX);

	return n >= k && !strcmp(m->lengths->name + n - k, LENGTHS_SUFFIX) ? LYCORIS_EPS : LEAST_EPS;
}

static int check_finite(const struct adapter_file *a, const struct safetensor *t, struct error *e)
{
	float *x = t ? adapter_file_floats(a, t, true, e) : NULL;
	const int status = x || !t ? 0 : -1;

	free(x);
	return status;
}

int adapter_file_check_module(const struct adapter_file *a, const struct file_module *m, struct error *e)
{
	int status = 0;

	for (int i = 0; i < BRANCH_PARTS && !status; i++)
		status = check_finite(a, m->part[i], e);
	if (!status)
		status = check_finite(a, m->lengths, e);
	return status ? status : check_finite(a, m->bias, e);
}

int adapter_file_check(const struct adapter_file *a, struct error *e)
{
	int status = 0;

	for (size_t i = 0; i < a->count && !status; i++)
		status = adapter_file_check_module(a, &a->module[i], e);
	if (!status)
		adapter_file_tell(a);
	return status;
}

int weighted_path(const char *text, char **path, double *weight, struct error *e)
{
	const char *colon = strrchr(text, ':');
	char *end = NULL;
	double w = colon && colon[1] ? strtod(colon + 1, &end) : 1;

	if (!end || *end || access(text, F_OK) == 0) {
		*path = xstrdup(text);
		*weight = 1;
		return 0;
	}
	*path = NULL;
	if (!isfinite(w))
		return fail(e, EXIT_USAGE, "'%.200s': the weight must be a finite number; say FILE:0.8", text);
	*path = xstrndup(text, colon - text);
	*weight = w;
	return 0;
}
