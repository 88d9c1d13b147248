/* lora-inspect --diff: what another file has, lacks and does otherwise: tensors, metadata, modules of adapters. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../adapter/adapter_scale.h"
#include "../adapter/module_update.h"
#include "../base/map.h"
#include "../base/memory.h"
#include "../base/thread.h"
#include "../data/ring.h"
#include "internal.h"

/* ---- tensors ---- */

static bool same_shape(const struct safetensor *a, const struct safetensor *b)
{
	return a->dtype == b->dtype && a->dims == b->dims &&
	       !memcmp(a->shape, b->shape, a->dims * sizeof(*a->shape));
}

struct tensor_counts { size_t equal, values, shapes; };

/* The names that one of them has alone; returns how many.  mark: before a name in text; NULL: none is shown, of
 * adapters, whose modules say it in any dialect. */
static size_t put_only(struct sheet *s, const char *key, const char *mark, const struct safetensors *a,
		       const struct safetensors *b)
{
	size_t n = 0;

	json_begin_array(&s->json, key);
	for (size_t i = 0; i < a->count; i++)
		if (!safetensors_find(b, a->tensor[i].name)) {
			if (mark)
				sheet_row(s, "  %s %s", mark, a->tensor[i].name);
			json_text(&s->json, NULL, a->tensor[i].name);
			n++;
		}
	json_end_array(&s->json);
	return n;
}

static void put_shapes(struct sheet *s, const struct safetensor *a, const struct safetensor *b)
{
	char one[SHAPE_ROOM], other[SHAPE_ROOM];

	shape_text(one, a->dims, a->shape, ",");
	shape_text(other, b->dims, b->shape, ",");
	sheet_row(s, "  ~ %s: %s [%s], other %s [%s]", a->name, dtype_name(a->dtype), one, dtype_name(b->dtype),
		  other);
}

static struct tensor_counts compare_tensors(struct sheet *s, const struct safetensors *a, const struct safetensors *b)
{
	struct tensor_counts n = { 0 };

	for (size_t i = 0; i < a->count; i++) {
		const struct safetensor *t = &a->tensor[i], *u = safetensors_find(b, t->name);

		if (u && !same_shape(t, u)) {
			put_shapes(s, t, u);
			n.shapes++;
		} else if (u) {
			const bool other = memcmp(safetensors_bytes(a, t), safetensors_bytes(b, u), t->bytes);

			*(other ? &n.values : &n.equal) += 1;
		}
	}
	return n;
}

static void put_tensors(struct sheet *s, const struct safetensors *a, const struct safetensors *b, bool modules)
{
	struct tensor_counts n;
	size_t here, there;

	json_begin(&s->json, "tensors");
	here = put_only(s, "only_here", modules ? NULL : "<", a, b);
	there = put_only(s, "only_there", modules ? NULL : ">", b, a);
	n = compare_tensors(s, a, b);
	json_int(&s->json, "equal", n.equal);
	json_int(&s->json, "other_values", n.values);
	json_int(&s->json, "other_types_or_shapes", n.shapes);
	json_end(&s->json);
	sheet_line(s, "tensors", "%zu equal, %zu with other values, %zu with other types or shapes, %zu only here, "
		   "%zu only there", n.equal, n.values, n.shapes, here, there);
}

/* ---- metadata ---- */

enum { SHOWN = 60 };                    /* bytes of a value in text */

static void put_entry(struct sheet *s, const char *mark, const struct metadata *m, const char *value)
{
	sheet_row(s, "  %s %s = %.*s%s", mark, m->key, SHOWN, value, strlen(value) > SHOWN ? "..." : "");
}

static void put_entries_only(struct sheet *s, const char *key, const char *mark, const struct safetensors *a,
			     const struct safetensors *b)
{
	json_begin(&s->json, key);
	for (size_t i = 0; i < a->metadata_count; i++)
		if (!safetensors_metadata(b, a->metadata[i].key)) {
			put_entry(s, mark, &a->metadata[i], a->metadata[i].value);
			json_text(&s->json, a->metadata[i].key, a->metadata[i].value);
		}
	json_end(&s->json);
}

static void put_metadata(struct sheet *s, const struct safetensors *a, const struct safetensors *b)
{
	json_begin(&s->json, "metadata");
	put_entries_only(s, "only_here", "<", a, b);
	put_entries_only(s, "only_there", ">", b, a);
	json_begin(&s->json, "other_values");
	for (size_t i = 0; i < a->metadata_count; i++) {
		const struct metadata *m = &a->metadata[i];
		const char *there = safetensors_metadata(b, m->key);

		if (!there || !strcmp(there, m->value))
			continue;
		put_entry(s, "<", m, m->value);
		put_entry(s, ">", m, there);
		json_begin_array(&s->json, m->key);
		json_text(&s->json, NULL, m->value);
		json_text(&s->json, NULL, there);
		json_end_array(&s->json);
	}
	json_end(&s->json);
	json_end(&s->json);
}

/* ---- modules ---- */

/* A module of each, on the same layer. */
struct pair { const struct file_module *here, *there; bool known; double dot, here_squares, there_squares; };

struct comparing {
	const struct adapter_file *here, *there;
	const struct model_files *base;
	struct pair *pair;
	size_t pairs;
	struct error *e;
};

struct compared { struct pair pair; int status; struct error e; };

static bool same_weight(const struct file_module *a, const struct file_module *b)
{
	const struct weight *w = layer_weight(a->layer), *v = layer_weight(b->layer);

	return w->out == v->out && w->in == v->in && w->kh == v->kh && w->kw == v->kw;
}

static void compare_pair(void *context, size_t i, void *slot)
{
	const struct comparing *c = context;
	struct compared *out = slot;
	struct pair *p = &out->pair;
	struct module_update here = { 0 }, there = { 0 };

	*p = c->pair[i];
	if (!same_weight(p->here, p->there))
		return;
	out->status = module_update_open(&here, c->here, p->here, c->base, &out->e);
	if (!out->status)
		out->status = module_update_open(&there, c->there, p->there, c->base, &out->e);
	p->known = !out->status && module_update_is_known(&here) && module_update_is_known(&there);
	if (p->known) {
		p->dot = module_update_dot(&here, &there);
		p->here_squares = module_update_dot(&here, &here);
		p->there_squares = module_update_dot(&there, &there);
	}
	module_update_close(&here);
	module_update_close(&there);
}

static int take_pair(void *context, size_t i, void *slot)
{
	struct comparing *c = context;
	const struct compared *done = slot;

	c->pair[i] = done->pair;
	if (done->status)
		*c->e = done->e;
	return done->status;
}

static char *layer_key(const struct file_module *m)
{
	return xprintf("%d %s", (int)m->layer->component, m->layer->name);
}

/* The modules that one of them has alone, by their file's names. */
static void put_modules_only(struct sheet *s, const char *key, const char *mark, const struct adapter_file *a,
			       const bool *paired)
{
	json_begin_array(&s->json, key);
	for (size_t i = 0; i < a->count; i++)
		if (!paired[i]) {
			sheet_row(s, "  %s %s", mark, a->module[i].name);
			json_text(&s->json, NULL, a->module[i].name);
		}
	json_end_array(&s->json);
}

static void pair_up(struct comparing *c, bool *here, bool *there)
{
	struct map *layers = map_new(c->there->count);
	char **key = xcalloc(c->there->count + 1, sizeof(*key));

	for (size_t i = 0; i < c->there->count; i++) {
		key[i] = layer_key(&c->there->module[i]);
		map_put(layers, key[i], strlen(key[i]), i);
	}
	for (size_t i = 0; i < c->here->count; i++) {
		char *mine = layer_key(&c->here->module[i]);
		const long k = map_get(layers, mine, strlen(mine));

		free(mine);
		if (k < 0)
			continue;
		here[i] = there[k] = true;
		c->pair[c->pairs++] = (struct pair){ &c->here->module[i], &c->there->module[k] };
	}
	map_free(layers);
	for (size_t i = 0; i < c->there->count; i++)
		free(key[i]);
	free(key);
}

/* 0 / 0: nothing is to be compared */
static double cosine(const struct pair *p)
{
	return p->dot / sqrt(p->here_squares * p->there_squares);
}

static double ratio(const struct pair *p)
{
	return sqrt(p->there_squares / p->here_squares);
}

static void put_measures(struct sheet *s, const struct pair *p)
{
	if (!p->known)
		return;
	json_number(&s->json, "cosine", cosine(p));
	json_number(&s->json, "norm_ratio", ratio(p));
}

static void put_pair(struct sheet *s, const struct pair *p)
{
	char angle[32] = "-", size[32] = "-";

	if (p->known && isfinite(cosine(p)))
		snprintf(angle, sizeof(angle), "%.6f", cosine(p));
	if (p->known && isfinite(ratio(p)))
		snprintf(size, sizeof(size), "%.5g", ratio(p));
	sheet_row(s, "  %-10s %-10s %s", angle, size, p->here->name);
	json_begin(&s->json, NULL);
	json_text(&s->json, "module", p->here->name);
	json_text(&s->json, "other", p->there->name);
	put_measures(s, p);
	json_end(&s->json);
}

static struct pair sum_of(const struct comparing *c)
{
	struct pair all = { .known = true };

	for (size_t i = 0; i < c->pairs; i++) {
		all.dot += c->pair[i].dot;
		all.here_squares += c->pair[i].here_squares;
		all.there_squares += c->pair[i].there_squares;
	}
	return all;
}

static void put_pairs(struct sheet *s, const struct comparing *c)
{
	const struct pair all = sum_of(c);

	if (all.here_squares > 0 && all.there_squares > 0)
		sheet_line(s, "all", "cosine %.6f, the other's norm is %.5g times this one's", cosine(&all),
			   ratio(&all));
	put_measures(s, &all);
	sheet_row(s, "  %-10s %-10s %s", "cosine", "ratio", "module");
	json_begin_array(&s->json, "both");
	for (size_t i = 0; i < c->pairs; i++)
		put_pair(s, &c->pair[i]);
	json_end_array(&s->json);
}

static void put_layers(struct sheet *s, const struct comparing *c, const bool *here, const bool *there)
{
	json_begin(&s->json, "modules");
	sheet_line(s, "layers", "%zu in both, %zu only here, %zu only there", c->pairs, c->here->count - c->pairs,
		   c->there->count - c->pairs);
	if (!c->pairs)
		sheet_line(s, "", "no layer in common: of different parts of a model, or for different models");
	put_modules_only(s, "only_here", "<", c->here, here);
	put_modules_only(s, "only_there", ">", c->there, there);
	put_pairs(s, c);
	json_end(&s->json);
}

static int put_modules(struct sheet *s, const struct adapter_file *a, const struct adapter_file *b,
		       const struct model_files *base, struct error *e)
{
	struct comparing c = { a, b, base, xcalloc(a->count + 1, sizeof(*c.pair)), 0, e };
	bool *here = xcalloc(a->count + 1, sizeof(*here)), *there = xcalloc(b->count + 1, sizeof(*there));
	struct ring_job job = { .threads = threads_default(), .slot = sizeof(struct compared), .context = &c,
				.work = compare_pair, .take = take_pair };
	int status;

	pair_up(&c, here, there);
	job.count = c.pairs;
	status = ring_run(&job);
	if (!status)
		put_layers(s, &c, here, there);
	free(here);
	free(there);
	free(c.pair);
	return status;
}

/* Both by a family's layers, whatever their dialects, or both by names. */
static int diff_adapters(struct sheet *s, struct safetensors *f, struct safetensors *g,
			 const struct model_files *base, struct error *e)
{
	const struct model_config *config = base ? model_files_config(base) : NULL;
	struct adapter_file *a = adapter_file_of_tensors(f, config, e), *b = adapter_file_of_tensors(g, config, e);
	int status = -1;

	if ((!a || !b) && !base) {
		adapter_file_close(a);
		adapter_file_close(b);
		a = adapter_file_by_names(f, e);
		b = a ? adapter_file_by_names(g, e) : NULL;
	}
	if (a && b)
		status = put_modules(s, a, b, base, e);
	adapter_file_close(a);
	adapter_file_close(b);
	return status;
}

int sheet_diff(struct sheet *s, struct safetensors *f, struct error *e)
{
	const struct inspect_options *o = s->options;
	struct model_files *base = NULL;
	struct safetensors *g = NULL;
	char *other = NULL;
	bool adapters;
	int status = adapter_named(o->diff, &other, e);

	if (!status && !(g = safetensors_open(other, e)))
		status = -1;
	if (!status && o->model &&
	    !(base = model_files_open_parts(o->model, o->model_config, NULL, PART(COMPONENT_UNET), e)))
		status = -1;
	if (!status) {
		json_begin(&s->json, "diff");
		json_text(&s->json, "other", o->diff);
		sheet_line(s, "diff", "with %s (< this file, > the other)", o->diff);
		adapters = is_adapter(f) && is_adapter(g);
		if (!adapters && (s->adapter || is_adapter(g)))
			sheet_line(s, "", "only one of them is an adapter: names, types and metadata alone");
		status = adapters ? verify_values(s, g, e) : 0;
		put_tensors(s, f, g, adapters);
		put_metadata(s, f, g);
		if (adapters && !status)
			status = diff_adapters(s, f, g, base, e);
		json_end(&s->json);
	}
	model_files_close(base);
	safetensors_close(g);
	free(other);
	return status;
}
