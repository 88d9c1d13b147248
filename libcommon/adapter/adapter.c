/* Creating adapters or loading them from a file, and adding their modules to layers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/hash.h"
#include "../base/memory.h"
#include "../base/philox.h"
#include "adapter_file.h"
#include "adapter_internal.h"
#include "keys.h"
#include "lengths.h"
#include "part_layout.h"

/* ---- a module's branch on the layer ---- */

/* Appends the branch to those of the layer, so that sums are in the order of loading. */
static void hang(struct adapter_module *m)
{
	struct branch **at = layer_branch(m->layer);

	while (*at)
		at = &(*at)->next;
	*at = &m->branch;
}

static void take_off(struct adapter_module *m)
{
	struct branch **at = layer_branch(m->layer);

	while (*at && *at != &m->branch)
		at = &(*at)->next;
	if (*at)
		*at = m->branch.next;
}

/* Form and values of a module.  value: in a device's layout; NULL: zeros. */
struct module_values {
	const struct adapter_kind *kind;
	struct module_form form;
	double alpha;
	float *value[BRANCH_PARTS];
};

static void free_values(struct module_values *v)
{
	for (int i = 0; i < BRANCH_PARTS; i++)
		free(v->value[i]);
}

static int put_parts(struct adapter *a, struct adapter_module *m, const struct module_values *v, bool trainable)
{
	for (int i = 0; i < BRANCH_PARTS; i++) {
		const struct part_form *p = &v->form.part[i];

		m->branch.part[i] = (struct tensor){ .n = p->n, .h = p->h, .w = p->w, .c = p->c };
		if (p->n && adapter_put_parameter(a, &m->branch.part[i], v->value[i], trainable && !p->frozen))
			return -1;
	}
	return 0;
}

static char *name_in_files(const struct module_values *v, const struct layer *l, const struct unet_config *c,
			   const char *stem)
{
	const char *dialect = v->kind->dialect ? v->kind->dialect(&v->form) : NULL;

	return dialect ? adapter_stem(dialect, l, c) : xstrdup(stem);
}

/* Takes stem and name. */
static int add_module(struct adapter *a, const struct layer *l, char *stem, char *name, const struct module_values *v,
		      double weight, bool trainable, struct error *e)
{
	struct adapter_module *m = &a->module[a->count++];

	*m = (struct adapter_module){
		.layer = l,
		.stem = stem,
		.name = name,
		.kind = v->kind,
		.alpha = v->alpha,
		.form = v->form,
		.branch = { .kind = &v->kind->branch, .inner = &v->kind->branch, .rank = v->form.rank,
			    .scale = (float)(kind_scale(v->kind, &v->form, v->alpha) * weight) },
	};
	memcpy(m->branch.number, v->form.number, sizeof(m->branch.number));
	if (put_parts(a, m, v, trainable) < 0)
		return fail(e, EXIT_MEMORY,
			    "no device memory for the adapter's '%s'; use a smaller rank, or a device with more memory",
			    stem);
	return 0;
}

static struct adapter *new_adapter(size_t modules, const struct backend *be, struct device *d)
{
	struct adapter *a = xcalloc(1, sizeof(*a));

	a->module = xcalloc(modules + 1, sizeof(*a->module));
	a->be = be;
	a->device = d;
	return a;
}

/* Adds all modules to their layers: only now are their addresses final. */
static struct adapter *hang_all(struct adapter *a)
{
	for (size_t i = 0; i < a->count; i++)
		hang(&a->module[i]);
	return a;
}

void adapter_free(struct adapter *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->count; i++) {
		struct adapter_module *m = &a->module[i];

		take_off(m);
		for (int k = 0; k < BRANCH_PARTS; k++) {
			a->be->release(a->device, m->branch.part[k].data);
			if (!a->borrow_grads)
				a->be->release(a->device, m->branch.part[k].grad);
		}
		a->be->release(a->device, m->branch.fixed);
		a->be->release(a->device, m->branch.bias);
		free(m->stem);
		free(m->name);
	}
	a->be->release(a->device, (void *)a->dropout.mask.first);
	a->be->release(a->device, (void *)a->constants.unit);
	a->be->release(a->device, (void *)a->constants.ones);
	free(a->module);
	free(a);
}

const char *adapter_part_suffix(const struct adapter_module *m, int part)
{
	return part == LENGTHS_PART ? LENGTHS_SUFFIX : kind_part_suffix(m->kind, part);
}

/* ---- creating ---- */

static bool wanted(const struct adapter_spec *s, const struct layer *l)
{
	bool component = l->component == COMPONENT_UNET ? s->unet :
			 is_text_encoder(l->component) && s->text[l->component - COMPONENT_TE1];

	if (!component || s->start_shapes)
		return component;
	if (l->group == LAYER_NORM)
		return false;
	if (s->kind && s->kind->takes)
		return s->kind->takes(l->name, l->group == LAYER_CONV_SET,
				      &(struct kind_wish){ .args = &s->args, .lycoris = s->lycoris });
	return l->group == LAYER_TRANSFORMER ||
	       (l->group == LAYER_CONV_SET && (s->blocks ? s->blocks->convolutions : s->conv_rank > 0));
}

/* Random numbers of each module and part.  A module's first part depends on the stem alone, as in older versions, which
 * had no more. */
static struct random draw(const char *stem, const struct adapter_kind *kind, int part, uint64_t seed)
{
	const char *suffix = part ? kind_part_suffix(kind, part) : "";

	return (struct random){ .seed = seed, .purpose = RANDOM_ADAPTER_INIT,
				.item = crc32c(crc32c(0, stem, strlen(stem)), suffix, strlen(suffix)) };
}

/* Values are drawn in file order, so that a device's layout cannot change them. */
static float *first_values(const struct part_form *p, const struct random *r)
{
	const size_t n = part_count(p);
	const float b = (float)(1 / sqrt((double)n / p->n));
	float *x, *device;

	if (p->start == START_ZERO)
		return NULL;
	x = xmalloc(n * sizeof(float));
	device = xmalloc(n * sizeof(float));
	if (p->start == START_UNIFORM)
		random_uniforms(r, x, n, -b, b);
	else if (p->start == START_NORMAL)
		random_normal(r, x, n);
	for (size_t i = 0; i < n && p->start == START_ONE; i++)
		x[i] = 1;
	for (size_t i = 0; i < n && p->start == START_NORMAL; i++)
		x[i] *= p->spread;
	part_to_device(device, x, p);
	free(x);
	return device;
}

/* What new modules are created from. */
struct creation {
	const struct adapter_spec *spec;
	const struct adapter_kind *kind;
	struct unet_config config;
	struct adapter_file *file;      /* NULL: none */
	size_t used;                    /* modules of it */
};

struct shape { int rank; double alpha; };

static int shape_in_block(const struct adapter_spec *s, const struct layer *l, const char *stem, bool spatial,
			  struct shape *shape, struct error *e)
{
	const struct family *family = l->family ? l->family : &family_sdxl;
	const int block = unet_block(stem);

	if (block < 0)
		return fail(e, EXIT_USAGE, "%s is in none of %s's %d blocks; this model takes no block_dims and no "
					   "block learning rates", stem, family->title, family->blocks.total);
	*shape = spatial ? (struct shape){ s->blocks->conv_rank[block], s->blocks->conv_alpha[block] } :
			   (struct shape){ s->blocks->rank[block], s->blocks->alpha[block] };
	if (s->blocks->lr[block] == 0)
		shape->rank = 0;
	return 0;
}

/* rank 0: no module here */
static int module_shape(const struct creation *c, const struct layer *l, const char *stem, struct shape *shape,
			struct error *e)
{
	const struct adapter_spec *s = c->spec;
	const struct weight *w = layer_weight(l);
	const bool plain = c->kind->plain_alpha && !s->lycoris, spatial = (w->kh > 1 || w->kw > 1) && !plain;
	const struct file_module *m = s->start_shapes ? adapter_file_module(c->file, l) : NULL;

	*shape = (struct shape){ 0 };
	if (s->start_shapes && !m)
		return 0;
	*shape = spatial ? (struct shape){ s->conv_rank, s->conv_alpha } : (struct shape){ s->rank, s->alpha };
	if (s->blocks && l->component == COMPONENT_UNET && shape_in_block(s, l, stem, spatial, shape, e) < 0)
		return -1;
	if (m && (shape->rank || !s->blocks))
		*shape = (struct shape){ m->form.rank ? m->form.rank : s->rank, m->alpha };
	if (!shape->alpha)
		shape->alpha = shape->rank;
	return 0;
}

static bool same_form(const struct module_form *a, const struct module_form *b)
{
	for (int i = 0; i < BRANCH_PARTS; i++)
		if (part_count(&a->part[i]) != part_count(&b->part[i]) || a->part[i].n != b->part[i].n)
			return false;
	return true;
}

/* Is the file's module of a kind of which no new ones are made, in place of the kind that is wished for?  It is then
 * taken as the file has it. */
static bool goes_on(const struct creation *c, const struct file_module *m)
{
	return c->spec->start_shapes && !m->kind->form && m->kind->begins == c->kind;
}

/* Checks that the file's module has the form that this run would make. */
static int check_form(const struct creation *c, const struct file_module *m, const struct module_form *own,
		      struct error *e)
{
	const struct adapter_spec *s = c->spec;

	if (!m->kind->form && m->kind->begins == c->kind && !s->start_shapes)
		return fail(e, EXIT_USAGE, "%s: '%.200s' is a module of %s, which goes on as it is: "
			    "set dim_from_weights = true", s->start, m->name, m->kind->name);
	if (m->bias)
		return fail(e, EXIT_USAGE, "%s: '%.200s' changes a bias, which is not trained; name the file in "
					   "base_weights instead", s->start, m->name);
	if (m->kind != c->kind && m->kind != c->kind->begins && !goes_on(c, m))
		return fail(e, EXIT_USAGE,
			    "%s: '%.200s' is a %s, and a %s would be trained; set network_module to the file's",
			    s->start, m->name, m->kind->name, c->kind->name);
	if (s->start_shapes)
		return 0;
	if (m->form.rank != own->rank || (float)m->alpha != (float)own->alpha)
		return fail(
			e, EXIT_USAGE,
			"%s: '%.200s' has rank %d and alpha %g, this run %d and %g; set network_dim and network_alpha "
			"to the file's, or dim_from_weights = true",
			s->start, m->name, m->form.rank, m->alpha, own->rank, own->alpha);
	if (!same_form(own, &m->form))
		return fail(
			e, EXIT_USAGE,
			"%s: '%.200s' has parts of other shapes than this run would make; set network_args to what it "
			"was made with, or dim_from_weights = true",
			s->start, m->name);
	return 0;
}

/* Reads form and values of a module of the file. */
static int file_values(const struct adapter_file *f, const struct file_module *m, struct module_values *v,
		       struct error *e)
{
	*v = (struct module_values){ .kind = m->kind, .form = m->form, .alpha = m->alpha };
	for (int i = 0; i < BRANCH_PARTS; i++) {
		float *x = m->part[i] ? adapter_file_floats(f, m->part[i], true, e) : NULL;

		if (!x && m->part[i]) {
			free_values(v);
			return -1;
		}
		if (!x)
			continue;
		v->value[i] = xmalloc(part_count(&m->form.part[i]) * sizeof(float));
		part_to_device(v->value[i], x, &m->form.part[i]);
		free(x);
	}
	return 0;
}

static void draw_values(const struct creation *c, const char *stem, struct module_values *v)
{
	for (int i = 0; i < BRANCH_PARTS; i++)
		if (v->form.part[i].n) {
			const struct random r = draw(stem, v->kind, i, c->spec->seed);
			v->value[i] = first_values(&v->form.part[i], &r);
		}
}

/* m: the file's module, or NULL.  Where the form is the same the run's own is written: a file may have other dimensions
 * of 1. */
static int new_values(const struct creation *c, const struct layer *l, const char *stem, const struct file_module *m,
		      const struct shape *shape, bool dry, struct module_values *v, struct error *e)
{
	const struct adapter_spec *s = c->spec;
	const struct kind_wish wish = { shape->rank, shape->alpha, &s->args, l->convolution, s->lycoris };
	struct module_form form = { 0 };

	if (c->kind->form)
		c->kind->form(&form, layer_weight(l), &wish);
	if (!form.part[0].n && !form.part[1].n && !(m && s->start_shapes))
		return fail(e, EXIT_USAGE,
			    "%s has %d outputs, which network_dim %d does not divide; choose another network_dim", stem,
			    layer_weight(l)->out, shape->rank);
	*v = (struct module_values){ 0 };
	if (m && (check_form(c, m, &form, e) < 0 || (!dry && file_values(c->file, m, v, e) < 0)))
		return -1;
	v->kind = m && goes_on(c, m) ? m->kind : c->kind;
	v->form = m && !same_form(&form, &m->form) ? m->form : form;
	if (m)
		memcpy(v->form.number, m->form.number, sizeof(v->form.number));
	v->alpha = m ? m->alpha : form.alpha;
	if (!m && !dry)
		draw_values(c, stem, v);
	return 0;
}

/* Takes stem. */
static int create_module(struct adapter *a, const struct layer *l, char *stem, const struct file_module *m,
			 const struct shape *shape, const struct creation *c, struct error *e)
{
	struct module_values v;
	int status = new_values(c, l, stem, m, shape, backend_is_dry(a->be), &v, e);

	if (status < 0) {
		free(stem);
		return -1;
	}
	status = add_module(a, l, stem, name_in_files(&v, l, &c->config, stem), &v, 1, true, e);
	free_values(&v);
	return status;
}

static int create_where_wanted(struct adapter *a, const struct layer *l, struct creation *c, struct error *e)
{
	char *stem = kohya_stem(l, &c->config);
	const struct file_module *m = adapter_file_module(c->file, l);
	struct shape shape;
	int status = module_shape(c, l, stem, &shape, e);

	if (status || !shape.rank) {
		free(stem);
		return status;
	}
	c->used += m != NULL;
	return create_module(a, l, stem, m, &shape, c, e);
}

static int create_modules(struct adapter *a, const struct layer_list *layers, struct creation *c, struct error *e)
{
	for (size_t k = 0; k < ADAPTED; k++)
		for (size_t i = 0; i < layers->count; i++) {
			const struct layer *l = &layers->layer[i];

			if (l->component == adapted_part(k) && wanted(c->spec, l) && create_where_wanted(a, l, c, e))
				return -1;
		}
	if (!a->count)
		return fail(
			e, EXIT_USAGE,
			"nothing would be trained: no UNet and no text encoder is wanted; leave out one of the two "
			"options");
	return 0;
}

static void tell_start(const struct creation *c, const struct adapter *a)
{
	if (!backend_is_dry(a->be))
		adapter_file_tell(c->file);
	if (c->used < c->file->count)
		note("%s: %zu of its %zu modules are not trained here and are left out", c->spec->start,
		     c->file->count - c->used, c->file->count);
	if (c->used < a->count)
		note("%s: %zu of the %zu modules that are trained are not in it and begin anew", c->spec->start,
		     a->count - c->used, a->count);
}

int adapter_leave_out(struct adapter *a, const struct branch_dropout *d, struct error *e)
{
	a->dropout = *d;
	a->dropout.on = false;
	if (!d->value && !d->rank && !d->module && !d->mask.least)
		return 0;
	for (size_t i = 0; i < a->count; i++) {
		a->module[i].branch.dropout = &a->dropout;
		a->module[i].branch.id = crc32c(0, a->module[i].stem, strlen(a->module[i].stem));
	}
	return d->mask.least ? adapter_put_mask(a, e) : 0;
}

static struct adapter_file *open_start(const struct adapter_spec *spec, const struct layer_list *layers,
				       struct error *e)
{
	struct adapter_file *f = adapter_file_open_present(spec->start, layers, e);

	if (f && f->absent)
		note("%s: %zu of its %zu tensors are for text encoders, which are not trained here, and are left out",
		     spec->start, f->absent, f->file->count);
	if (!f || spec->dora || !f->lengths)
		return f;
	fail(e, EXIT_USAGE, "%s is a DoRA, and a plain LoRA would be trained; set dora = true", spec->start);
	adapter_file_close(f);
	return NULL;
}

struct adapter *adapter_create(const struct layer_list *layers, const struct adapter_spec *spec,
			       const struct backend *be, struct device *d, struct error *e)
{
	struct creation c = { .spec = spec, .kind = spec->kind ? spec->kind : adapter_kinds[0] };
	struct branch_dropout dropout = spec->dropout;
	struct adapter *a;
	int status;

	if (spec->start && !(c.file = open_start(spec, layers, e)))
		return NULL;
	layers_config(layers, &c.config);
	a = new_adapter(layers->count, be, d);
	a->borrow_grads = spec->borrow_grads;
	status = create_modules(a, layers, &c, e);
	if (!status && c.file)
		tell_start(&c, a);
	if (!status && spec->dora)
		status = adapter_add_lengths(a, c.file, &(struct lengths_wish){ spec->dora, 1, true }, e);
	adapter_file_close(c.file);
	if (c.kind->leaves_out)
		c.kind->leaves_out(&spec->args, &dropout);
	if (!status)
		status = adapter_leave_out(a, &dropout, e);
	if (!status)
		return hang_all(a);
	adapter_free(a);
	return NULL;
}

void adapter_training(struct adapter *a, uint32_t step, uint32_t batch, const float *timestep, int samples)
{
	a->dropout.on = true;
	a->dropout.step = step;
	a->dropout.batch = batch;
	a->dropout.mask.timestep = a->dropout.mask.least ? timestep : NULL;
	a->dropout.mask.samples = samples;
}

void adapter_training_ends(struct adapter *a)
{
	a->dropout.on = false;
}

/* ---- from a file ---- */

struct loading { const struct adapter_file *file; struct unet_config config; double weight; bool trainable; };

/* A bias is on the device as it is added. */
static int load_bias(struct adapter *a, struct adapter_module *to, const struct file_module *m,
		     const struct loading *l, struct error *e)
{
	const double scale = l->weight * (m->bias_scaled ? kind_scale(m->kind, &m->form, m->alpha) : 1);
	const int n = layer_weight(m->layer)->out;
	float *x = NULL;

	if (!backend_is_dry(a->be) && !(x = adapter_file_floats(l->file, m->bias, true, e)))
		return -1;
	for (int i = 0; x && i < n; i++)
		x[i] = (float)(x[i] * scale);
	to->branch.bias = adapter_floats(a, x, n);
	free(x);
	return to->branch.bias ? 0 : fail(e, EXIT_MEMORY,
					  "no device memory for the adapter's biases; use a device with more memory");
}

static int load_module(struct adapter *a, const struct file_module *m, const struct loading *l, struct error *e)
{
	struct module_values v = { .kind = m->kind, .form = m->form, .alpha = m->alpha };
	int status = backend_is_dry(a->be) ? 0 : file_values(l->file, m, &v, e);
	char *stem;

	if (status < 0)
		return -1;
	stem = kohya_stem(m->layer, &l->config);
	status = add_module(a, m->layer, stem, name_in_files(&v, m->layer, &l->config, stem), &v, l->weight,
			    l->trainable, e);
	free_values(&v);
	if (!status && m->bias)
		status = load_bias(a, &a->module[a->count - 1], m, l, e);
	return status;
}

static int load_modules(struct adapter *a, const struct loading *l, struct error *e)
{
	for (size_t k = 0; k < ADAPTED; k++)
		for (size_t i = 0; i < l->file->count; i++)
			if (l->file->module[i].layer->component == adapted_part(k) &&
			    load_module(a, &l->file->module[i], l, e))
				return -1;
	return 0;
}

/* Takes f. */
static struct adapter *load_file(struct adapter_file *f, const struct layer_list *layers, double weight, bool trainable,
				 const struct backend *be, struct device *d, struct error *e)
{
	struct loading l = { .file = f, .weight = weight, .trainable = trainable };
	struct adapter *a;
	int status;

	layers_config(layers, &l.config);
	if (!backend_is_dry(be))
		adapter_file_tell(f);
	a = new_adapter(f->count, be, d);
	status = load_modules(a, &l, e);
	if (!status && f->lengths)
		status = adapter_add_lengths(a, f, &(struct lengths_wish){ DORA_OFF, weight, trainable }, e);
	adapter_file_close(f);
	if (!status)
		return hang_all(a);
	adapter_free(a);
	return NULL;
}

struct adapter *adapter_load(const char *path, const struct layer_list *layers, double weight, bool trainable,
			     const struct backend *be, struct device *d, struct error *e)
{
	struct adapter_file *f = adapter_file_open(path, layers, e);

	return f ? load_file(f, layers, weight, trainable, be, d, e) : NULL;
}

struct adapter *adapter_load_some(const char *path, const struct layer_list *layers, const struct backend *be,
				  struct device *d, struct error *e)
{
	struct adapter_file *f = adapter_file_open_some(path, layers, e);

	return f ? load_file(f, layers, 1, false, be, d, e) : NULL;
}
