#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/hash.h"
#include "../base/memory.h"
#include "../base/philox.h"
#include "adapter_file.h"
#include "adapter_internal.h"
#include "adapter_layout.h"
#include "keys.h"

/* ---- a module's place on the layer ---- */

/* Behind the adapters that hang there already: sums are then in the order of loading. */
static void hang(struct adapter_module *m)
{
	struct lora **at = layer_lora(m->layer);

	while (*at)
		at = &(*at)->next;
	*at = &m->lora;
}

static void take_off(struct adapter_module *m)
{
	struct lora **at = layer_lora(m->layer);

	while (*at && *at != &m->lora)
		at = &(*at)->next;
	if (*at)
		*at = m->lora.next;
}

/* down: in device layout; NULL up: zeros.  Takes stem. */
static int add_module(struct adapter *a, const struct layer *l, char *stem, int rank, double alpha, double weight,
		      const float *down, const float *up, bool trainable, struct error *e)
{
	const struct weight *w = layer_weight(l);
	struct adapter_module *m = &a->module[a->count++];

	*m = (struct adapter_module){
		.layer = l,
		.stem = stem,
		.rank = rank,
		.alpha = alpha,
		.lora = { .down = { .n = rank, .h = w->kh, .w = w->kw, .c = w->in },
			  .up = { .n = w->out, .h = 1, .w = 1, .c = rank },
			  .rank = rank,
			  .scale = (float)(alpha / rank * weight) },
	};
	if (adapter_put_parameter(a, &m->lora.down, down, trainable) || adapter_put_parameter(a, &m->lora.up, up, trainable))
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

/* The modules' addresses are final only now. */
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
	adapter_free_magnitudes(a);
	for (size_t i = 0; i < a->count; i++) {
		struct adapter_module *m = &a->module[i];

		take_off(m);
		a->be->release(a->device, m->lora.down.data);
		a->be->release(a->device, m->lora.up.data);
		if (!a->borrow_grads) {
			a->be->release(a->device, m->lora.down.grad);
			a->be->release(a->device, m->lora.up.grad);
		}
		free(m->stem);
	}
	free(a->module);
	free(a);
}

/* ---- new ---- */

static const enum component order[] = { COMPONENT_TE1, COMPONENT_TE2, COMPONENT_UNET };
#define ORDERED (sizeof(order) / sizeof(order[0]))

static bool wanted(const struct adapter_spec *s, const struct layer *l)
{
	bool component = l->component == COMPONENT_UNET ? s->unet : l->component == COMPONENT_TE1 ? s->te1 :
			 l->component == COMPONENT_TE2 && s->te2;

	return component && (l->group == LAYER_TRANSFORMER || s->start_shapes ||
			     (l->group == LAYER_CONV_SET && (s->blocks ? s->blocks->convolutions : s->conv_rank > 0)));
}

/* Values are drawn in file order, so that a device's layout cannot change them. */
static float *first_values(const struct layer *l, const char *stem, int rank, uint64_t seed)
{
	const struct weight *w = layer_weight(l);
	size_t fan_in = (size_t)w->in * w->kh * w->kw, n = (size_t)rank * fan_in;
	struct random r = { .seed = seed, .purpose = RANDOM_ADAPTER_INIT, .item = crc32c(0, stem, strlen(stem)) };
	float *x = xmalloc(n * sizeof(float)), *down = xmalloc(n * sizeof(float)),
	      b = (float)(1 / sqrt((double)fan_in));

	random_uniforms(&r, x, n, -b, b);
	down_to_device(down, x, rank, w);
	free(x);
	return down;
}

/* What modules are made from. */
struct creation {
	const struct adapter_spec *spec;
	struct unet_config config;
	struct adapter_file *file;      /* NULL: none */
	size_t used;                    /* modules of it */
};

struct shape { int rank; double alpha; };

static int shape_in_block(const struct adapter_spec *s, const char *stem, bool spatial, struct shape *shape, struct error *e)
{
	const int block = unet_block(stem);

	if (block < 0)
		return fail(e, EXIT_USAGE, "%s is in none of SDXL's 23 blocks; this model takes no block_dims and no block learning rates", stem);
	*shape = spatial ? (struct shape){ s->blocks->conv_rank[block], s->blocks->conv_alpha[block] } :
			   (struct shape){ s->blocks->rank[block], s->blocks->alpha[block] };
	if (s->blocks->lr[block] == 0)
		shape->rank = 0;
	return 0;
}

/* rank 0: no module here */
static int module_shape(const struct creation *c, const struct layer *l, const char *stem, struct shape *shape, struct error *e)
{
	const struct adapter_spec *s = c->spec;
	const struct weight *w = layer_weight(l);
	const bool spatial = w->kh > 1 || w->kw > 1;
	const struct file_module *m = s->start_shapes ? adapter_file_module(c->file, l) : NULL;

	*shape = (struct shape){ 0 };
	if (s->start_shapes && !m)
		return 0;
	*shape = spatial ? (struct shape){ s->conv_rank, s->conv_alpha } : (struct shape){ s->rank, s->alpha };
	if (s->blocks && l->component == COMPONENT_UNET && shape_in_block(s, stem, spatial, shape, e) < 0)
		return -1;
	if (m && (shape->rank || !s->blocks))
		*shape = (struct shape){ m->rank, m->alpha };
	if (!shape->alpha)
		shape->alpha = shape->rank;
	return 0;
}

static int check_shape(const struct creation *c, const struct file_module *m, const struct shape *shape, struct error *e)
{
	if (m->rank == shape->rank && m->alpha == shape->alpha)
		return 0;
	return fail(e, EXIT_USAGE, "%s: '%.200s' has rank %d and alpha %g, this run %d and %g; set network_dim and network_alpha to the "
		    "file's, or dim_from_weights = true", c->spec->start, m->name, m->rank, m->alpha, shape->rank, shape->alpha);
}

/* The module as the file has it; *up is set too. */
static float *file_values(const struct adapter_file *f, const struct file_module *m, float **up, struct error *e)
{
	float *down = adapter_file_floats(f, m->down, true, e), *turned;

	*up = down ? adapter_file_floats(f, m->up, true, e) : NULL;
	if (!*up) {
		free(down);
		return NULL;
	}
	turned = xmalloc(safetensor_elements(m->down) * sizeof(float));
	down_to_device(turned, down, m->rank, layer_weight(m->layer));
	free(down);
	return turned;
}

/* Takes stem. */
static int create_module(struct adapter *a, const struct layer *l, char *stem, const struct file_module *m, const struct shape *shape,
			 const struct creation *c, struct error *e)
{
	float *down = NULL, *up = NULL;
	int status;

	if (!backend_is_dry(a->be))
		down = m ? file_values(c->file, m, &up, e) : first_values(l, stem, shape->rank, c->spec->seed);
	if (!down && !backend_is_dry(a->be)) {
		free(stem);
		return -1;
	}
	status = add_module(a, l, stem, shape->rank, shape->alpha, 1, down, up, true, e);
	free(down);
	free(up);
	return status;
}

static int create_where_wanted(struct adapter *a, const struct layer *l, struct creation *c, struct error *e)
{
	char *stem = kohya_stem(l, &c->config);
	const struct file_module *m = adapter_file_module(c->file, l);
	struct shape shape;
	int status = module_shape(c, l, stem, &shape, e);

	if (!status && shape.rank && m)
		status = check_shape(c, m, &shape, e);
	if (status || !shape.rank) {
		free(stem);
		return status;
	}
	c->used += m != NULL;
	return create_module(a, l, stem, m, &shape, c, e);
}

static int create_modules(struct adapter *a, const struct layer_list *layers, struct creation *c, struct error *e)
{
	for (size_t k = 0; k < ORDERED; k++)
		for (size_t i = 0; i < layers->count; i++) {
			const struct layer *l = &layers->layer[i];

			if (l->component == order[k] && wanted(c->spec, l) && create_where_wanted(a, l, c, e))
				return -1;
		}
	if (!a->count)
		return fail(e, EXIT_USAGE, "nothing would be trained: no UNet and no text encoder is wanted; leave out one of the two options");
	return 0;
}

static void tell_start(const struct creation *c, const struct adapter *a)
{
	if (c->used < c->file->count)
		note("%s: %zu of its %zu modules are not trained here and are left out", c->spec->start, c->file->count - c->used,
		     c->file->count);
	if (c->used < a->count)
		note("%s: %zu of the %zu modules that are trained are not in it and begin anew", c->spec->start, a->count - c->used, a->count);
}

static void allow_dropout(struct adapter *a, const struct lora_dropout *d)
{
	a->dropout = *d;
	a->dropout.on = false;
	if (!d->value && !d->rank && !d->module)
		return;
	for (size_t i = 0; i < a->count; i++) {
		a->module[i].lora.dropout = &a->dropout;
		a->module[i].lora.id = crc32c(0, a->module[i].stem, strlen(a->module[i].stem));
	}
}

static struct adapter_file *open_start(const struct adapter_spec *spec, const struct layer_list *layers, struct error *e)
{
	struct adapter_file *f = adapter_file_open(spec->start, layers, e);

	if (!f || spec->dora || !f->magnitudes)
		return f;
	fail(e, EXIT_USAGE, "%s is a DoRA, and a plain LoRA would be trained; set dora = true", spec->start);
	adapter_file_close(f);
	return NULL;
}

struct adapter *adapter_create(const struct layer_list *layers, const struct adapter_spec *spec,
			       const struct backend *be, struct device *d, struct error *e)
{
	struct creation c = { .spec = spec };
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
		status = adapter_add_magnitudes(a, c.file, true, 1, true, e);
	adapter_file_close(c.file);
	allow_dropout(a, &spec->dropout);
	if (!status)
		return hang_all(a);
	adapter_free(a);
	return NULL;
}

void adapter_training(struct adapter *a, uint32_t step, uint32_t batch)
{
	a->dropout.on = true;
	a->dropout.step = step;
	a->dropout.batch = batch;
}

void adapter_training_ends(struct adapter *a)
{
	a->dropout.on = false;
}

/* ---- from a file ---- */

struct loading { const struct adapter_file *file; struct unet_config config; double weight; bool trainable; };

static int load_module(struct adapter *a, const struct file_module *m, const struct loading *l, struct error *e)
{
	float *up = NULL, *down = backend_is_dry(a->be) ? NULL : file_values(l->file, m, &up, e);
	int status = -1;

	if (down || backend_is_dry(a->be))
		status = add_module(a, m->layer, kohya_stem(m->layer, &l->config), m->rank, m->alpha, l->weight, down, up, l->trainable, e);
	free(down);
	free(up);
	return status;
}

static int load_modules(struct adapter *a, const struct loading *l, struct error *e)
{
	for (size_t k = 0; k < ORDERED; k++)
		for (size_t i = 0; i < l->file->count; i++)
			if (l->file->module[i].layer->component == order[k] &&
			    load_module(a, &l->file->module[i], l, e))
				return -1;
	return 0;
}

struct adapter *adapter_load(const char *path, const struct layer_list *layers, double weight, bool trainable,
			     const struct backend *be, struct device *d, struct error *e)
{
	struct adapter_file *f = adapter_file_open(path, layers, e);
	struct loading l = { .file = f, .weight = weight, .trainable = trainable };
	struct adapter *a;
	int status;

	if (!f)
		return NULL;
	layers_config(layers, &l.config);
	a = new_adapter(f->count, be, d);
	status = load_modules(a, &l, e);
	if (!status && f->magnitudes)
		status = adapter_add_magnitudes(a, f, false, weight, trainable, e);
	adapter_file_close(f);
	if (!status)
		return hang_all(a);
	adapter_free(a);
	return NULL;
}
