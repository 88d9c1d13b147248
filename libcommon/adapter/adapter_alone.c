/* Opening an adapter's file where no model's weights are at hand. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "../base/map.h"
#include "../base/memory.h"
#include "../model/family.h"
#include "../model/outline.h"
#include "adapter_sort.h"

/* ---- shapes ---- */

/* A kernel that is flattened into the inputs looks like a matrix with so many more of them. */
static bool unflatten(struct weight *w, const struct weight *usual)
{
	const int taps = usual->kh * usual->kw;

	if (taps == 1 || w->kh * w->kw != 1 || w->in % taps)
		return false;
	w->in /= taps;
	w->kh = usual->kh;
	w->kw = usual->kw;
	return true;
}

/* Do its tensors say the kernel?  Models of a family have the same ones, whatever else differs. */
static bool has_kernel(const struct file_module *m)
{
	for (int i = 0; i < BRANCH_PARTS && !m->kind->needs_base; i++)
		if (m->part[i] && m->part[i]->dims == 4)
			return true;
	return false;
}

static bool is_bias_alone(const struct file_module *m)
{
	for (int i = 0; i < BRANCH_PARTS; i++)
		if (m->part[i])
			return false;
	return m->bias && safetensor_elements(m->bias) <= INT_MAX;
}

/* The shape that the module's own tensors have: the released model's, where they fit it; where they tell nothing,
 * that one too, so that what is wrong with them is said of it. */
static struct weight own_shape(const struct file_module *m, const struct weight *usual)
{
	struct weight w = *usual, flat;
	struct module_form form;

	if (is_bias_alone(m)) {
		w.out = (int)safetensor_elements(m->bias);      /* which is all that it tells */
		return w;
	}
	if (!m->kind || m->kind->missing(m->part) >= 0 || kind_form_of_file(m->kind, &form, usual, m->part) ||
	    !m->kind->guess(&w, m->part))
		return *usual;
	flat = w;
	if (unflatten(&flat, usual) && kind_form_of_file(m->kind, &form, &flat, m->part))
		return flat;
	return usual->out && has_kernel(m) && w.kh * w.kw != usual->kh * usual->kw ? *usual : w;
}

/* Gives the module a layer of its own, with that shape. */
static void give_layer(struct adapter_file *a, struct file_module *m, struct weight shape)
{
	struct own_layer *own;

	if (!a->own)
		a->own = xcalloc(a->count, sizeof(*a->own));
	own = &a->own[m - a->module];
	own->layer = *m->layer;
	own->layer.name = xstrdup(m->layer->name);
	own->layer.linear = m->layer->linear ? &own->linear : NULL;
	own->layer.conv = m->layer->conv ? &own->conv : NULL;
	own->layer.norm = m->layer->norm ? &own->norm : NULL;
	own->linear.w = own->conv.w = own->norm.w = shape;
	m->layer = &own->layer;
}

static void as_its_tensors(struct adapter_file *a, struct file_module *m)
{
	give_layer(a, m, own_shape(m, layer_weight(m->layer)));
}

static void as_the_model(struct adapter_file *a, struct file_module *m)
{
	give_layer(a, m, *layer_weight(m->layer));
}

/* ---- which model ---- */

/* How well a file fits a model: by names, then by shapes. */
struct fit { size_t names, shapes; };

static struct fit fit_of(const struct safetensors *file, const struct adapter_sorting *s)
{
	struct fit f = { .names = file->count - s->misses };
	struct module_form form;

	for (size_t i = 0; i < s->layers->count; i++) {
		const struct file_module *m = &s->module[i];

		f.shapes += m->kind && m->kind->missing(m->part) < 0 &&
			    kind_form_of_file(m->kind, &form, layer_weight(m->layer), m->part);
	}
	return f;
}

/* The family's released model. */
static struct model_config released(const struct family *f)
{
	struct model_config c = *f->usual;

	c.family = f;
	return c;
}

static int fit_of_family(const struct safetensors *file, const struct family *family, struct fit *fit, struct error *e)
{
	const struct model_config c = released(family);
	struct adapter_sorting s;
	struct outline o;
	int status;

	outline_of_config(&o, &c);
	status = adapter_sort(&s, file, &o.layers, e);
	if (!status)
		*fit = fit_of(file, &s);
	adapter_sorting_free(&s);
	outline_free(&o);
	return status;
}

/* Of the family that the file's metadata names, else of the first that fits best. */
static int usual_config(const struct safetensors *file, struct model_config *c, struct error *e)
{
	const char *says = safetensors_metadata(file, "ss_base_model_version");
	struct fit best = { 0 }, fit;
	const struct family *f;

	for (size_t i = 0; says && (f = family_at(i)); i++)
		if (!strcmp(f->base_model_version, says)) {
			*c = released(f);
			return 0;
		}
	*c = released(family_at(0));
	for (size_t i = 0; (f = family_at(i)); i++) {
		if (fit_of_family(file, f, &fit, e))
			return -1;
		if (fit.names > best.names || (fit.names == best.names && fit.shapes > best.shapes)) {
			best = fit;
			*c = released(f);
		}
	}
	return 0;
}

/* ---- the file ---- */

static int take(struct adapter_file *a, const struct model_config *model, struct error *e)
{
	struct model_config usual;
	struct adapter_sorting s = { 0 };
	struct outline o;
	int status = 0;

	if (!model) {
		status = usual_config(a->file, &usual, e);
		model = &usual;
	}
	if (status)
		return -1;
	outline_of_config(&o, model);
	status = adapter_sort(&s, a->file, &o.layers, e);
	if (!status)
		status = adapter_file_take(a, &s, model == &usual ? usual.family->title : "this model",
					   model == &usual ? as_its_tensors : as_the_model, e);
	adapter_sorting_free(&s);
	outline_free(&o);
	return status;
}

struct adapter_file *adapter_file_open_alone(const char *path, const struct model_config *model, struct error *e)
{
	struct adapter_file *a = xcalloc(1, sizeof(*a));

	a->file = adapter_file_tensors(path, e);
	if (a->file && !take(a, model, e))
		return a;
	adapter_file_close(a);
	return NULL;
}

struct adapter_file *adapter_file_of_tensors(struct safetensors *file, const struct model_config *model,
					     struct error *e)
{
	struct adapter_file *a = xcalloc(1, sizeof(*a));

	a->file = file;
	a->lent = true;
	if (!take(a, model, e))
		return a;
	adapter_file_close(a);
	return NULL;
}

/* ---- names alone ---- */

static enum component component_of(const char *tensor_name, const char **dialect)
{
	const int c = adapter_key_component(tensor_name, dialect);

	return c < 0 ? COMPONENT_VAE : (enum component)c;
}

/* A layer for each name that tensors share; of[i]: tensor i's, -1: it is no adapter's. */
static void layers_by_names(const struct safetensors *file, struct layer_list *list, struct linear *shapeless,
			    long *of)
{
	struct map *names = map_new(file->count);
	struct key_part part;

	for (size_t i = 0; i < file->count; i++) {
		const char *name = file->tensor[i].name, *dialect;
		const size_t n = adapter_key_split(name, &part);
		const bool skip = !n || part.part == PART_OTHER || part.part == PART_EMBEDDING;
		char *stem;

		of[i] = skip ? -1 : map_get(names, name, n);
		if (skip || of[i] >= 0)
			continue;
		of[i] = list->count;
		map_put(names, name, n, of[i]);
		stem = xstrndup(name, n);
		layer_add(list, component_of(name, &dialect), LAYER_OTHER, stem, shapeless, NULL);
		list->layer[of[i]].bias = true;
		free(stem);
	}
	map_free(names);
}

static int sort_by_names(struct adapter_sorting *s, const struct safetensors *file, const long *of, struct error *e)
{
	struct key_part part;
	const char *dialect;

	for (size_t i = 0; i < file->count; i++) {
		if (of[i] < 0)
			continue;
		adapter_key_split(file->tensor[i].name, &part);
		s->module[of[i]].layer = &s->layers->layer[of[i]];
		if (adapter_sort_into(&s->module[of[i]], file, &file->tensor[i], &part, e))
			return -1;
		component_of(file->tensor[i].name, &dialect);
		if (!s->dialect)
			s->dialect = dialect;
	}
	return 0;
}

struct adapter_file *adapter_file_by_names(struct safetensors *file, struct error *e)
{
	struct adapter_file *a = xcalloc(1, sizeof(*a));
	struct linear shapeless = { .w = { .kh = 1, .kw = 1 } };
	struct layer_list list = { 0 };
	struct adapter_sorting s = { .layers = &list };
	long *of = xmalloc((file->count + 1) * sizeof(*of));
	int status;

	a->file = file;
	a->lent = a->by_names = true;
	layers_by_names(file, &list, &shapeless, of);
	s.module = xcalloc(list.count + 1, sizeof(*s.module));
	status = sort_by_names(&s, file, of, e);
	if (!status)
		status = adapter_file_take(a, &s, "any model", as_its_tensors, e);
	adapter_sorting_free(&s);
	layer_list_free(&list);
	free(of);
	if (!status)
		return a;
	adapter_file_close(a);
	return NULL;
}
