/* lora-merge: which modules meet which tensors, and the run over all files. */
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../adapter/full.h"
#include "../base/memory.h"
#include "../model/family.h"
#include "internal.h"

/* ---- jobs ---- */

/* tensor: "weight" or "bias" */
static void put_job(struct merge *m, struct merge_job job, const char *tensor)
{
	const struct layer *l = job.module->layer;
	char *name = xprintf("%s.%s", l->name, tensor);

	if (!source_place(m->files, l->component, name, &job.place))
		die(EXIT_OTHER, "bug: '%s' has no place in the model's files", name);
	free(name);
	GROW(m->job, m->jobs, m->capacity);
	m->job[m->jobs++] = job;
}

/* The bias of the module as a full difference of a vector. */
static void put_bias(struct merge *m, struct merge_job job)
{
	const struct file_module *of = job.module;
	struct merge_bias *b = &m->bias[of->layer - m->outline.layers.layer];
	struct file_module *own;

	if (!b->module)
		b->module = xcalloc(m->options->adapters, sizeof(*b->module));
	own = &b->module[job.adapter];
	b->layer = *of->layer;
	b->layer.linear = NULL;
	b->layer.conv = NULL;
	b->layer.norm = &b->shape;
	b->shape.w = (struct weight){ .out = layer_weight(of->layer)->out, .in = 1, .kh = 1, .kw = 1 };
	*own = (struct file_module){ .layer = &b->layer, .name = of->name, .kind = &kind_full,
				     .part[FULL_DIFF] = of->bias };
	kind_full.read(&own->form, &b->shape.w, own->part);
	job.module = own;
	job.scale = job.weight * (of->bias_scaled ? kind_scale(of->kind, &of->form, of->alpha) : 1);
	put_job(m, job, "bias");
}

static void put_module(struct merge *m, size_t adapter, const struct file_module *module, double weight)
{
	const struct merge_job job = {
		.file = m->adapter[adapter],
		.module = module,
		.scale = kind_scale(module->kind, &module->form, module->alpha) * (module->lengths ? 1 : weight),
		.weight = weight,
		.adapter = adapter,
	};

	if (module->kind != &kind_full || module->part[FULL_DIFF])
		put_job(m, job, "weight");
	if (module->bias)
		put_bias(m, job);
}

static int add_adapter(struct merge *m, size_t i, struct error *e)
{
	char *path;
	double weight;

	if (weighted_path(m->options->adapter[i], &path, &weight, e))
		return -1;
	m->adapter[i] = adapter_file_open(path, &m->outline.layers, e);
	free(path);
	if (!m->adapter[i])
		return -1;
	adapter_file_tell(m->adapter[i]);
	for (size_t k = 0; k < m->adapter[i]->count; k++) {
		const struct file_module *module = &m->adapter[i]->module[k];
		double share;
		bool kept;

		if (share_of(m->shares, i, m->adapter[i], module, &share, &kept, e))
			return -1;
		if (kept)
			put_module(m, i, module, weight * share);
	}
	return shares_tell(m->shares, i, m->adapter[i], weight, e);
}

#define COMPARE(a, b) do { if ((a) != (b)) return (a) < (b) ? -1 : 1; } while (0)

static int by_place(const void *left, const void *right)
{
	const struct merge_job *a = left, *b = right;

	COMPARE(a->place.file, b->place.file);
	COMPARE(a->place.tensor->offset, b->place.tensor->offset);
	COMPARE(a->place.row, b->place.row);
	COMPARE(a->adapter, b->adapter);
	return 0;
}

/* ---- all files ---- */

/* Notes the parts that the model lacks: modules of an adapter for these fit no layer. */
static void tell_of_parts(const struct merge *m)
{
	const struct family *f = model_files_config(m->files)->family;
	int there = 0;

	for (int i = 0; i < f->texts; i++)
		there += model_files_has(m->files, COMPONENT_TE1 + i);
	if (there < f->texts)
		note("%s: it holds %s; only what is there is merged into", m->options->model,
		     f->texts > 2 ? "not all text encoders" :
		     f->texts > 1 ? "not both text encoders" : "no text encoder");
}

static int prepare(struct merge *m, struct error *e)
{
	const struct merge_options *o = m->options;

	if (!o->model)
		return fail(e, EXIT_USAGE,
			    "no model to merge into; say -m MODEL (a diffusers folder or a single file)");
	if (!o->adapters)
		return fail(e, EXIT_USAGE, "no adapter to merge; say --lora FILE[:WEIGHT]");
	if (strcmp(o->out, "-") == 0)
		return fail(e, EXIT_USAGE,
			    "-o -: a checkpoint is not written to standard output; name a file or folder");
	m->shares = shares_new(&o->shares, o->adapters, e);
	if (!m->shares)
		return -1;
	m->files = model_files_open_parts(o->model, o->model_config, NULL, PART(COMPONENT_UNET), e);
	if (!m->files || outline_of_files(&m->outline, m->files, e))
		return -1;
	tell_of_parts(m);
	m->bias = xcalloc(m->outline.layers.count + 1, sizeof(*m->bias));
	m->adapter = xcalloc(o->adapters, sizeof(*m->adapter));
	for (size_t i = 0; i < o->adapters; i++)
		if (add_adapter(m, i, e))
			return -1;
	if (shares_check(m->shares, e))
		return -1;
	if (!m->jobs)
		return fail(e, EXIT_USAGE, "nothing is left: every module is left out");
	qsort(m->job, m->jobs, sizeof(*m->job), by_place);
	return 0;
}

static int write_all(struct merge *m, struct error *e)
{
	size_t tensors = 0;
	int status;

	for (size_t i = 0; i < source_files(m->files); i++)
		tensors += source_file(m->files, i)->count;
	if (m->options->report) {
		m->report = publish_begin(m->options->report, false, e);
		if (!m->report)
			return -1;
	}
	m->progress = progress_begin("merging", "tensors", tensors);
	status = model_files_single(m->files) ? merge_file(m, 0, m->options->out, e) : merge_folder(m, e);
	progress_end(m->progress);
	if (!status)
		status = merge_report_total(m, e);
	if (m->report && !status)
		return publish_end(m->report, e);
	publish_abandon(m->report);
	return status;
}

int merge_into(const struct merge_options *o, struct error *e)
{
	struct merge m = { .options = o };
	int status = prepare(&m, e);

	if (!status)
		status = write_all(&m, e);
	for (size_t i = 0; m.adapter && i < o->adapters; i++)
		adapter_file_close(m.adapter[i]);
	for (size_t i = 0; m.bias && i < m.outline.layers.count; i++)
		free(m.bias[i].module);
	free(m.bias);
	free(m.adapter);
	free(m.job);
	shares_free(m.shares);
	outline_free(&m.outline);
	model_files_close(m.files);
	return status;
}
