/* adapters.c - a folder of adapters of many kinds: what each does to a model, merges into it, and learns. */
#include <ftw.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/adapter/keys.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/merge/merge.h"
#include "subject.h"

struct folder { const char *path, *device; struct tally *tally; };

/* One adapter and its effect. */
struct subject_adapter { struct subject s; struct safetensors *effect_file; struct effect effect; char *adapter; };

/* What a file of that kind must be called in a message; NULL: the programs can do all that is in it. */
static const char *not_yet(const char *adapter)
{
	struct error e = { 0 };
	struct safetensors *f = safetensors_open(adapter, &e);
	const char *other = NULL;
	struct key_part part;

	for (size_t i = 0; f && i < f->count && !other; i++) {
		const struct safetensor *tensors[BRANCH_PARTS] = { NULL };

		if (!adapter_key_split(f->tensor[i].name, &part))
			continue;
		if (part.part == PART_OTHER)
			other = part.method;
		if (!part.kind || !part.kind->other)
			continue;
		tensors[part.part] = &f->tensor[i];
		other = part.kind->other(tensors);
	}
	safetensors_close(f);
	return other;
}

/* ---- one adapter ---- */

/* Of a kind that has no row yet: it must be refused by name, and is no more than named here. */
static bool refused(struct subject_adapter *x)
{
	struct pipeline *p = &x->s.p;
	const char *kind = not_yet(x->adapter);
	struct error e = { 0 };
	struct adapter *a;

	if (!kind)
		return false;
	a = adapter_load(x->adapter, &p->layers, 1, false, p->be, p->device, &e);
	if (a || !strstr(e.text, kind))
		failed(x->s.tally, "%s: a %s that is not refused by name", x->s.label, kind);
	else
		skipped(x->s.tally, "%s: %s; refused by name, not compared", x->s.label, kind);
	adapter_free(a);
	return true;
}

static void compare_at(struct subject_adapter *x, double weight, const char *want)
{
	struct pipeline *p = &x->s.p;
	struct error e = { 0 };
	struct adapter *a = adapter_load(x->adapter, &p->layers, weight, false, p->be, p->device, &e);

	if (a)
		effect_compare(&x->effect, &x->s, output_kind(x->adapter), want);
	else
		failed(x->s.tally, "%s: %s", x->s.label, e.text);
	adapter_free(a);
}

static bool same_tensor(const struct safetensors *f, const struct safetensors_out *o)
{
	const struct safetensor *t = safetensors_find(f, o->name);
	bool same = t && t->dims == o->dims && !memcmp(t->shape, o->shape, o->dims * sizeof(*o->shape));
	float *want = same ? need_floats(f, o->name) : NULL;

	same = same && !memcmp(want, o->data, safetensor_elements(t) * sizeof(*want));
	free(want);
	return same;
}

static bool in_kohyas_names(const struct safetensors *f)
{
	const char *dialect;

	return f->count && adapter_key_component(f->tensor[0].name, &dialect) >= 0 &&
	       (!strcmp(dialect, "kohya") || !strcmp(dialect, "kohya, OFT"));
}

/* Loaded and written again, a file in kohya's names is itself: names, shapes and numbers. */
static void check_names(struct subject_adapter *x)
{
	struct pipeline *p = &x->s.p;
	struct error e = { 0 };
	struct safetensors *f = safetensors_open(x->adapter, &e);
	struct adapter *a = f ? adapter_load(x->adapter, &p->layers, 1, false, p->be, p->device, &e) : NULL;
	struct safetensors_out *out = NULL;
	size_t count = a && in_kohyas_names(f) ? adapter_tensors(a, &out) : 0, i = 0;

	while (i < count && same_tensor(f, &out[i]))
		i++;
	if (i < count)
		failed(x->s.tally, "%s: written again, '%s' is another", x->s.label, out[i].name);
	else if (count && count != f->count)
		failed(x->s.tally, "%s: written again, it has %zu tensors instead of %zu", x->s.label, count, f->count);
	else if (count)
		passed(x->s.tally, "%s written again: %zu tensors with names, shapes and numbers", x->s.label, count);
	adapter_tensors_free(out, count);
	adapter_free(a);
	safetensors_close(f);
}

/* ---- merged ---- */

static int remove_entry(const char *path, const struct stat *s, int kind, struct FTW *at)
{
	return remove(path);
}

static float *unet_weight(const char *model, const char *layer, size_t *n)
{
	char *path = path_join(model, "unet/diffusion_pytorch_model.safetensors"), *name = xprintf("%s.weight", layer);
	struct error e = { 0 };
	struct safetensors *f = safetensors_open(path, &e);
	float *x;

	if (!f)
		die(e.code, "%s", e.text);
	*n = safetensor_elements(need(f, name));
	x = need_floats(f, name);
	safetensors_close(f);
	free(path);
	free(name);
	return x;
}

/* The layer that a module of any dialect stands for; NULL: none of the UNet's. */
static const char *unet_layer(const struct subject_adapter *x, const char *module)
{
	struct key_index *k = key_index_new(&x->s.p.layers, &x->s.p.config->unet);
	char *alpha = xprintf("%s.alpha", module);
	struct key_part part;
	const char *dialect;
	const long i = key_index_find(k, alpha, &part, &dialect);

	key_index_free(k);
	free(alpha);
	return i < 0 || x->s.p.layers.layer[i].component != COMPONENT_UNET ? NULL : x->s.p.layers.layer[i].name;
}

/* delta.MODULE: what the merged model's weight is more than the model's.  An update far below the weight loses digits
 * in the sum, which is rounded to F32: so does the one that is wanted, and the difference of both sums is what
 * counts. */
static void compare_delta(struct subject_adapter *x, const char *model, const char *merged, const char *name)
{
	const char *layer = unet_layer(x, name + strlen("delta."));
	float *before, *after, *want;
	struct spread spread = { 0 };
	size_t n;

	if (!layer) {
		failed(x->s.tally, "%s %s: no layer of the UNet has that name", x->s.label, name);
		return;
	}
	before = unet_weight(model, layer, &n);
	after = unet_weight(merged, layer, &n);
	want = need_floats(x->effect_file, name);
	for (size_t i = 0; i < n; i++)
		after[i] = want[i] + (after[i] - (float)((double)before[i] + want[i]));
	spread_add(&spread, after, want, n);
	judge(x->s.tally, KIND_DELTA, &spread, "%s %s", x->s.label, name);
	free(before);
	free(after);
	free(want);
}

static void compare_merged(struct subject_adapter *x, const char *model, const char *merged, const char *device)
{
	char *label = xprintf("%s, merged", x->s.label);
	struct subject s = { .label = label, .folder = x->s.folder, .tally = x->s.tally };
	struct error e = { 0 };

	if (merge_into(
		&(struct merge_options){
		    .model = model, .adapter = (const char *[]){ x->adapter }, .adapters = 1, .out = merged },
		&e) < 0 ||
	    subject_open(&s, merged, NULL, device, &e) < 0) {
		failed(s.tally, "%s: %s", label, e.text);
	} else {
		effect_compare(&x->effect, &s, output_kind(x->adapter), "output_with");
		for (size_t i = 0; i < x->effect_file->count; i++)
			if (!strncmp(x->effect_file->tensor[i].name, "delta.", 6))
				compare_delta(x, model, merged, x->effect_file->tensor[i].name);
	}
	subject_close(&s);
	free(label);
}

static void check_merged(struct subject_adapter *x, const char *model, const char *device)
{
	const char *tmp = getenv("TMPDIR");
	char *folder = xprintf("%s/golden.XXXXXX", tmp ? tmp : "/tmp"), *merged;

	if (!mkdtemp(folder))
		die(EXIT_IO, "%s: no folder can be made for a merged model", folder);
	merged = path_join(folder, "model");
	compare_merged(x, model, merged, device);
	nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	free(merged);
	free(folder);
}

/* ---- files of the folder ---- */

/* ADAPTER is a path from the folder. */
static void check_adapter(const struct folder *f, const char *effect, const char *adapter)
{
	struct subject_adapter x = { .s = { .label = adapter, .folder = f->path, .tally = f->tally } };
	struct error e = { 0 };
	char *model;

	x.effect_file = open_reference(f->path, effect);
	x.adapter = path_join(f->path, adapter);
	model = path_join(f->path, need_metadata(x.effect_file, "model"));
	if (subject_open(&x.s, model, NULL, f->device, &e) < 0 || effect_open(&x.effect, &x.s, x.effect_file, &e) < 0) {
		failed(f->tally, "%s: %s", adapter, e.text);
	} else if (!refused(&x)) {
		effect_compare(&x.effect, &x.s, KIND_UNET, "output_without");
		compare_at(&x, 1, "output_with");
		compare_at(&x, 0.5, "output_half");
		check_names(&x);
		check_merged(&x, model, f->device);
	}
	effect_close(&x.effect);
	subject_close(&x.s);
	close_reference(NULL, x.effect_file);
	free(x.adapter);
	free(model);
}

static void effect_file(void *folder, const char *name)
{
	const struct folder *f = folder;
	struct safetensors *effect = open_reference(f->path, name);

	check_adapter(f, name, need_metadata(effect, "adapter"));
	close_reference(NULL, effect);
}

/* lokr_f4_native.safetensors, without an effect of its own, has that of lokr_f4. */
static void adapter_file(void *folder, const char *name)
{
	const struct folder *f = folder;
	size_t n = strcspn(name, ".");

	if (!strncmp(name, "effect_", 7) || !strncmp(name, "train_", 6))
		return;
	for (bool whole = true; n > 0; whole = false) {
		char *effect = xprintf("effect_%.*s.safetensors", (int)n, name);
		const bool there = exists(f->path, effect);

		if (there && !whole)
			check_adapter(f, effect, name);
		free(effect);
		if (there)
			return;
		while (--n > 0 && name[n] != '_')
			;
	}
	skipped(f->tally, "%s: no effect file says what it should do", name);
}

static void training_file(void *folder, const char *name)
{
	const struct folder *f = folder;
	struct safetensors *train = open_reference(f->path, name);
	char *model = path_join(f->path, need_metadata(train, "model")),
	     *initial = path_join(f->path, need_metadata(train, "initial"));
	char *above = xstrdup(model);
	struct subject s = { .label = "adapters", .folder = f->path, .inputs = dirname(above), .tally = f->tally };
	const char *kind = not_yet(initial);
	struct error e = { 0 };

	if (kind)
		skipped(f->tally, "%s: %s; not compared", name, kind);
	else if (subject_open(&s, model, NULL, f->device, &e) < 0)
		failed(f->tally, "%s: %s", name, e.text);
	else
		check_train(&s, name);
	subject_close(&s);
	close_reference(NULL, train);
	free(above);
	free(initial);
	free(model);
}

void check_adapters(struct tally *t, const char *folder, const char *device)
{
	struct folder f = { folder, device, t };

	each_file(folder, "effect_*.safetensors", effect_file, &f);
	each_file(folder, "*.safetensors", adapter_file, &f);
	each_file(folder, "train_*.safetensors", training_file, &f);
	if (exists(folder, "tables.json"))
		check_tables(t, folder);
}
