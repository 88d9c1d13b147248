/* lora-merge: what all adapters add to a rectangle of one layer, in double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../base/thread.h"
#include "../data/ring.h"
#include "merged_layer.h"

/* ---- W as it is before anything is merged ---- */

static void read_base(const struct base_rows *b, size_t o, size_t j, size_t n, float *row)
{
	const struct merged_layer *l = b->from;
	const size_t first = l->transposed ? j * l->rows + o : o * l->columns + j, step = l->transposed ? l->rows : 1;

	if (step == 1)
		to_float(row, l->in + first * l->size, l->dtype, n);
	else
		for (size_t k = 0; k < n; k++)
			to_float(row + k, l->in + (first + k * step) * l->size, l->dtype, 1);
	for (size_t k = 0; l->scale != 1 && k < n; k++)
		row[k] *= (float)l->scale;
}

static struct base_rows base_of(const struct merged_layer *l)
{
	return (struct base_rows){ read_base, l, l->columns };
}

/* ---- DoRA: W' is W + dW with the lengths of its rows, or of its columns, changed ---- */

/* to [rows][columns] = W + dW */
static void sum_of(double *to, const struct merged_layer *l, const struct update *u, const struct delta_tile *at)
{
	const struct base_rows base = base_of(l);
	const struct delta_tile t = { at->row, at->rows, at->column, at->columns, to, at->columns };
	float before[TILE_COLUMNS];

	for (size_t i = 0; i < t.rows; i++) {
		read_base(&base, t.row + i, t.column, t.columns, before);
		for (size_t j = 0; j < t.columns; j++)
			to[i * t.step + j] = before[j];
	}
	u->delta.kind->add_delta(&u->delta, &t, &base);
}

/* sum += weight (W' - W) */
static void add_with_lengths(const struct merged_layer *l, const struct update *u, const struct delta_tile *t,
			     double *room)
{
	const struct base_rows base = base_of(l);
	float before[TILE_COLUMNS];

	sum_of(room, l, u, t);
	for (size_t i = 0; i < t->rows; i++) {
		const double *gain = u->gain + (u->by_input ? t->column : t->row + i), *own = room + i * t->columns;
		double *sum = t->sum + i * t->step;

		read_base(&base, t->row + i, t->column, t->columns, before);
		for (size_t j = 0; j < t->columns; j++)
			sum[j] += u->weight * (gain[u->by_input ? j : 0] * own[j] - before[j]);
	}
}

struct measuring { const struct merged_layer *layer; const struct update *update; double *squares; };

/* to[j], or all to one */
static void add_squares(double *to, bool each, const double *x, size_t n)
{
	double sum = 0;

	for (size_t j = 0; j < n && each; j++)
		to[j] += x[j] * x[j];
	for (size_t j = 0; j < n && !each; j++)
		sum += x[j] * x[j];
	*to += sum;
}

/* The squares in a band of rows, of each row or of each column. */
static void measure_band(void *context, size_t band, void *slot)
{
	const struct measuring *m = context;
	const struct merged_layer *l = m->layer;
	const size_t first = band * TILE_ROWS, rows = lesser(TILE_ROWS, l->rows - first);
	double *sum = xmalloc(TILE_ROWS * TILE_COLUMNS * sizeof(*sum)),
	       *squares = xcalloc(m->update->by_input ? l->columns : rows, sizeof(*squares));

	for (size_t at = 0; at < l->columns; at += TILE_COLUMNS) {
		const struct delta_tile t = { first, rows, at, lesser(TILE_COLUMNS, l->columns - at) };

		sum_of(sum, l, m->update, &t);
		for (size_t i = 0; i < rows; i++)
			add_squares(squares + (m->update->by_input ? at : i), m->update->by_input, sum + i * t.columns,
				    t.columns);
	}
	free(sum);
	*(double **)slot = squares;
}

static int add_band(void *context, size_t band, void *slot)
{
	const struct measuring *m = context;
	const struct merged_layer *l = m->layer;
	const size_t first = band * TILE_ROWS;
	const double *squares = *(double **)slot;

	if (m->update->by_input)
		for (size_t i = 0; i < l->columns; i++)
			m->squares[i] += squares[i];
	else
		memcpy(m->squares + first, squares, lesser(TILE_ROWS, l->rows - first) * sizeof(*squares));
	safetensors_release(l->file, l->in + first * l->columns * l->size,
			    lesser(TILE_ROWS, l->rows - first) * l->columns * l->size);
	return 0;
}

static void free_band(void *slot)
{
	free(*(double **)slot);
}

/* The length of a column is over all rows, so everything is computed twice: once before anything is written.  Bands
 * are added in their order, so the number of threads changes nothing. */
static double *gains(const struct merged_layer *l, const struct update *u)
{
	const size_t n = u->by_input ? l->columns : l->rows,
		     taps = u->by_input ? (size_t)u->delta.w->kh * u->delta.w->kw : 1;
	double *gain = xcalloc(n, sizeof(*gain));
	struct measuring m = { l, u, gain };
	const struct ring_job bands = { .count = (l->rows + TILE_ROWS - 1) / TILE_ROWS, .slot = sizeof(double *),
					.threads = (int)lesser(threads_default(), MOST_THREADS), .context = &m,
					.work = measure_band, .take = add_band, .release = free_band };

	ring_run(&bands);       /* add_band() never says no */
	for (size_t i = 0; i < n; i += taps) {
		double squares = 0;

		for (size_t k = 0; k < taps; k++)
			squares += gain[i + k];
		for (size_t k = 0; k < taps; k++)       /* zeros stay zeros */
			gain[i + k] = squares > 0 ? u->lengths[i / taps] / (sqrt(squares) + u->eps) : 0;
	}
	return gain;
}

/* ---- the adapters' modules ---- */

static int read_floats(float **to, const struct merge *m, const struct merge_job *job, const struct safetensor *t,
		       struct error *e)
{
	const struct safetensors *file = job->file->file;

	if (!t)
		return 0;
	*to = adapter_file_floats(job->file, t, !m->options->allow_nonfinite, e);
	safetensors_release(file, safetensors_bytes(file, t), t->bytes);
	return *to ? 0 : -1;
}

static int read_update(struct update *u, const struct merged_layer *l, const struct merge *m,
		       const struct merge_job *job, struct error *e)
{
	const struct file_module *x = job->module;
	struct delta *d = &u->delta;

	*u = (struct update){ .delta = { .kind = x->kind, .form = &x->form, .w = layer_weight(x->layer),
					 .scale = job->scale },
			      .weight = job->weight };
	for (int i = 0; i < BRANCH_PARTS; i++)
		if (read_floats(&d->part[i], m, job, x->part[i], e))
			return -1;
	if (read_floats(&u->lengths, m, job, x->lengths, e))
		return -1;
	u->by_input = x->by_input;
	u->eps = x->lengths ? lengths_eps(x) : 0;
	delta_begin(d);
	if (u->lengths)
		u->gain = gains(l, u);
	return 0;
}

int merged_layer_begin(struct merged_layer *l, struct merge *m, const struct merge_job *job, size_t count,
		       struct error *e)
{
	const struct source_place *p = &job->place;
	const struct weight *w = layer_weight(job->module->layer);

	*l = (struct merged_layer){ .file = source_file(m->files, p->file), .dtype = p->tensor->dtype,
			     .size = dtype_size(p->tensor->dtype), .rows = w->out,
			     .columns = (size_t)w->in * w->kh * w->kw, .transposed = p->transposed, .scale = p->scale,
			     .update = xcalloc(count, sizeof(*l->update)) };
	l->in = (const unsigned char *)safetensors_bytes(l->file, p->tensor) +
		p->row * (p->tensor->bytes / p->tensor->shape[0]);
	for (; l->updates < count; l->updates++)
		if (read_update(&l->update[l->updates], l, m, &job[l->updates], e)) {
			l->updates++;
			return -1;
		}
	return 0;
}

void merged_layer_end(struct merged_layer *l)
{
	for (size_t i = 0; i < l->updates; i++) {
		delta_end(&l->update[i].delta);
		free(l->update[i].lengths);
		free(l->update[i].gain);
	}
	free(l->update);
}

void merged_layer_update(const struct merged_layer *l, const struct delta_tile *t, double *room)
{
	const struct base_rows base = base_of(l);

	for (size_t i = 0; i < t->rows; i++)
		memset(t->sum + i * t->step, 0, t->columns * sizeof(*t->sum));
	for (size_t i = 0; i < l->updates; i++)
		if (l->update[i].lengths)
			add_with_lengths(l, &l->update[i], t, room);
		else
			l->update[i].delta.kind->add_delta(&l->update[i].delta, t, &base);
	for (size_t i = 0; l->scale != 1 && i < t->rows; i++)
		for (size_t j = 0; j < t->columns; j++)
			t->sum[i * t->step + j] /= l->scale;
}
