/* The whole update of one module of an adapter as a matrix. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../adapter/full.h"
#include "../base/memory.h"
#include "../base/thread.h"
#include "../data/ring.h"
#include "merged_layer.h"
#include "whole_update.h"

bool update_needs_base(const struct file_module *m)
{
	return m->lengths || m->kind->needs_base;
}

/* ---- bands of rows, on all threads ---- */

struct filling {
	const struct delta *delta;              /* one of the two */
	const struct merged_layer *layer;
	size_t rows, columns;
	float *dw;                              /* one of the two */
	double *exact;
};

static void fill_tile(const struct filling *f, const struct delta_tile *t, double *room)
{
	if (f->layer) {
		merged_layer_update(f->layer, t, room);
		return;
	}
	for (size_t i = 0; i < t->rows * t->columns; i++)
		t->sum[i] = 0;
	f->delta->kind->add_delta(f->delta, t, NULL);
}

static void store(const struct filling *f, size_t at, const double *from, size_t n)
{
	if (f->exact)
		memcpy(f->exact + at, from, n * sizeof(*from));
	for (size_t i = 0; i < n && f->dw; i++)
		f->dw[at + i] = (float)from[i];
}

static void fill_band(void *context, size_t band, void *slot)
{
	const struct filling *f = context;
	const size_t first = band * TILE_ROWS, rows = lesser(TILE_ROWS, f->rows - first);
	double *sum = xmalloc(2 * TILE_ROWS * TILE_COLUMNS * sizeof(*sum));

	for (size_t at = 0; at < f->columns; at += TILE_COLUMNS) {
		const size_t n = lesser(TILE_COLUMNS, f->columns - at);

		fill_tile(f, &(struct delta_tile){ first, rows, at, n, sum, n }, sum + TILE_ROWS * TILE_COLUMNS);
		for (size_t i = 0; i < rows; i++)
			store(f, (first + i) * f->columns + at, sum + i * n, n);
	}
	free(sum);
}

static int take_nothing(void *context, size_t band, void *slot)
{
	return 0;
}

static void fill(struct filling *f)
{
	const struct ring_job bands = { .count = (f->rows + TILE_ROWS - 1) / TILE_ROWS, .slot = 1, .context = f,
					.threads = (int)lesser(threads_default(), MOST_THREADS), .work = fill_band,
					.take = take_nothing };

	ring_run(&bands);       /* take_nothing() never says no */
}

/* ---- a module ---- */

/* The adapter's own numbers were looked at when they were read. */
static int check_finite(const struct filling *f, const struct adapter_file *a, const struct file_module *m,
			const struct safetensors *model, struct error *e)
{
	bool sound = true;

	for (size_t i = 0; i < f->rows * f->columns; i++)
		sound &= isfinite(f->exact ? f->exact[i] : f->dw[i]) != 0;
	if (sound)
		return 0;
	return fail(e, EXIT_INPUT, "%s: the weight of '%.200s' holds NaN or infinity, or the update of %s to it does; "
				   "use a sound model", model->path, m->layer->name, a->file->path);
}

static int fill_with_base(struct filling *f, const struct adapter_file *a, const struct file_module *m,
			  struct model_files *files, struct error *e)
{
	const struct merge_options options = { 0 };
	struct merge merge = { .options = &options, .files = files };
	struct merge_job job = {
		.file = a, .module = m, .scale = kind_scale(m->kind, &m->form, m->alpha), .weight = 1
	};
	char *name = xprintf("%s.weight", m->layer->name);
	struct merged_layer layer;
	int status;

	if (!source_place(files, m->layer->component, name, &job.place))
		die(EXIT_OTHER, "bug: '%s' has no place in the model's files", name);
	free(name);
	status = merged_layer_begin(&layer, &merge, &job, 1, e);
	f->layer = &layer;
	if (!status) {
		fill(f);
		status = check_finite(f, a, m, layer.file, e);
	}
	merged_layer_end(&layer);
	return status;
}

static int fill_alone(struct filling *f, const struct adapter_file *a, const struct file_module *m, struct error *e)
{
	struct delta d;
	int status = file_module_delta(&d, a, m, e);

	f->delta = &d;
	if (!status)
		fill(f);
	delta_end(&d);
	return status;
}

int file_module_delta(struct delta *d, const struct adapter_file *a, const struct file_module *m, struct error *e)
{
	*d = (struct delta){ .kind = m->kind, .form = &m->form, .w = layer_weight(m->layer),
			     .scale = kind_scale(m->kind, &m->form, m->alpha) };
	for (int i = 0; i < BRANCH_PARTS; i++)
		if (m->part[i] && !(d->part[i] = adapter_file_floats(a, m->part[i], true, e)))
			return -1;
	delta_begin(d);
	return 0;
}

int update_check_base(const struct adapter_file *a, const struct file_module *m, const struct model_files *files,
		      struct error *e)
{
	if (!update_needs_base(m) || files)
		return 0;
	return fail(e, EXIT_USAGE,
		    "%s: the update of '%.200s' is made of the model's weights; say -m MODEL, the one that it was "
		    "trained on", a->file->path, m->name);
}

static int fill_any(struct filling *f, const struct adapter_file *a, const struct file_module *m,
		    struct model_files *files, struct error *e)
{
	return update_needs_base(m) ? fill_with_base(f, a, m, files, e) : fill_alone(f, a, m, e);
}

static struct filling filling_of(const struct file_module *m)
{
	const struct weight *w = layer_weight(m->layer);

	return (struct filling){ .rows = w->out, .columns = (size_t)w->in * w->kh * w->kw };
}

int whole_update(float **dw, const struct adapter_file *a, const struct file_module *m, struct model_files *files,
		  struct error *e)
{
	struct filling f = filling_of(m);

	*dw = NULL;
	if (update_check_base(a, m, files, e))
		return -1;
	*dw = f.dw = xmalloc(f.rows * f.columns * sizeof(*f.dw));
	if (!fill_any(&f, a, m, files, e))
		return 0;
	free(f.dw);
	*dw = NULL;
	return -1;
}

int whole_update_exact(double **dw, const struct adapter_file *a, const struct file_module *m,
		       struct model_files *files, struct error *e)
{
	struct filling f = filling_of(m);

	*dw = NULL;
	if (update_check_base(a, m, files, e))
		return -1;
	*dw = f.exact = xmalloc(f.rows * f.columns * sizeof(*f.exact));
	if (!fill_any(&f, a, m, files, e))
		return 0;
	free(f.exact);
	*dw = NULL;
	return -1;
}

int update_norm(double *norm, const struct adapter_file *a, const struct file_module *m, struct error *e)
{
	struct delta d;
	int status;

	*norm = update_needs_base(m) ? NAN : 0;
	if (update_needs_base(m) || (m->kind == &kind_full && !m->part[FULL_DIFF]))
		return 0;
	status = file_module_delta(&d, a, m, e);
	if (!status)
		*norm = delta_norm(&d);
	delta_end(&d);
	return status;
}
