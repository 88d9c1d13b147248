/* lora-merge: the new bytes of one tensor, in double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../base/thread.h"
#include "../data/ring.h"
#include "internal.h"

/* One adapter's module of the layer. */
struct update {
	struct delta delta;
	float *lengths;                 /* DoRA: [out] or [in]; NULL: none */
	double *gain;                   /* DoRA by input: [columns], length over length; NULL: by output */
	double weight;                  /* DoRA: the factor of W' - W */
};

#define NO_LENGTH 1e-12                 /* added to a length, so that zeros stay zeros */

/* Rows of one layer inside a tensor. */
struct rows {
	const unsigned char *in;        /* where the layer's first element lies */
	unsigned char *out;
	enum dtype dtype;
	size_t size;                    /* bytes an element */
	size_t rows, columns;           /* of W as [out][in * kh * kw] */
	size_t row_step, column_step;   /* elements from one to the next */
	const struct update *update;
	size_t count;
};

static struct rows layout(const struct merge_job *job, const struct safetensors *s, unsigned char *out)
{
	const struct source_place *p = &job->place;
	const struct weight *w = layer_weight(job->module->layer);
	size_t size = dtype_size(p->tensor->dtype), start;
	struct rows r = {
		.dtype = p->tensor->dtype, .size = size, .rows = w->out, .columns = (size_t)w->in * w->kh * w->kw,
	};

	r.row_step = p->transposed ? 1 : r.columns;
	r.column_step = p->transposed ? r.rows : 1;
	start = p->row * (p->tensor->bytes / p->tensor->shape[0]);
	r.in = (const unsigned char *)safetensors_bytes(s, p->tensor) + start;
	r.out = out + start;
	return r;
}

static void gather(unsigned char *row, const struct rows *r, size_t o)
{
	const unsigned char *from = r->in + o * r->row_step * r->size;

	if (r->column_step == 1)
		memcpy(row, from, r->columns * r->size);
	else
		for (size_t j = 0; j < r->columns; j++)
			memcpy(row + j * r->size, from + j * r->column_step * r->size, r->size);
}

static void scatter(const unsigned char *row, const struct rows *r, size_t o)
{
	unsigned char *to = r->out + o * r->row_step * r->size;

	if (r->column_step == 1)
		memcpy(to, row, r->columns * r->size);
	else
		for (size_t j = 0; j < r->columns; j++)
			memcpy(to + j * r->column_step * r->size, row + j * r->size, r->size);
}

/* For kinds whose update is made of W's rows: as they are before anything is merged. */
static void read_base(const struct base_rows *b, size_t o, float *row)
{
	const struct rows *r = b->from;
	unsigned char *bytes = xmalloc(r->columns * r->size);

	gather(bytes, r, o);
	to_float(row, bytes, r->dtype, r->columns);
	free(bytes);
}

static void add_delta(double *sum, const struct rows *r, const struct update *u, size_t o)
{
	const struct base_rows base = { read_base, r, r->columns };

	u->delta.kind->add_delta_row(&u->delta, o, sum, &base);
}

static void add_row(double *own, const float *before, const struct rows *r, const struct update *u, size_t o)
{
	for (size_t j = 0; j < r->columns; j++)
		own[j] = before[j];
	add_delta(own, r, u, o);
}

/* sum += weight (W' - W), where W' is W + dW with the lengths of its rows, or of its columns, changed; own: scratch */
static void add_with_lengths(double *sum, double *own, const float *before, const struct rows *r,
			     const struct update *u, size_t o)
{
	double squares = 0, gain = 1;

	add_row(own, before, r, u, o);
	for (size_t j = 0; j < r->columns && !u->gain; j++)
		squares += own[j] * own[j];
	if (!u->gain)
		gain = u->lengths[o] / (sqrt(squares) + NO_LENGTH);
	for (size_t j = 0; j < r->columns; j++)
		sum[j] += u->weight * ((u->gain ? u->gain[j] : gain) * own[j] - before[j]);
}

struct scratch { double *sum, *own; float *before, *after; unsigned char *bytes; };

/* s->sum = the update of row o, in double and in the order of adapters and ranks */
static void update_row(struct scratch *s, const struct rows *r, size_t o)
{
	memset(s->sum, 0, r->columns * sizeof(*s->sum));
	for (size_t i = 0; i < r->count; i++)
		if (r->update[i].lengths)
			add_with_lengths(s->sum, s->own, s->before, r, &r->update[i], o);
		else
			add_delta(s->sum, r, &r->update[i], o);
}

static struct scratch scratch_new(size_t columns)
{
	return (struct scratch){
		xmalloc(columns * sizeof(double)),
		xmalloc(columns * sizeof(double)),
		xmalloc(columns * sizeof(float)),
		xmalloc(columns * sizeof(float)),
		xmalloc(columns * 8),
	};
}

static void scratch_free(struct scratch *s)
{
	free(s->sum);
	free(s->own);
	free(s->before);
	free(s->after);
	free(s->bytes);
}

struct row_result { double update, error; bool broken; };       /* squares; a finite weight became infinite */

static struct row_result merge_row(const struct rows *r, size_t o, struct scratch *s)
{
	struct row_result result = { 0 };

	gather(s->bytes, r, o);
	to_float(s->before, s->bytes, r->dtype, r->columns);
	update_row(s, r, o);
	for (size_t j = 0; j < r->columns; j++)
		s->after[j] = (float)(s->before[j] + s->sum[j]);
	from_float(s->bytes, r->dtype, s->after, r->columns);
	scatter(s->bytes, r, o);
	to_float(s->after, s->bytes, r->dtype, r->columns);
	for (size_t j = 0; j < r->columns; j++) {
		double error = s->after[j] - (s->before[j] + s->sum[j]);

		result.update += s->sum[j] * s->sum[j];
		result.error += error * error;
		result.broken |= isfinite(s->before[j]) && !isfinite(s->after[j]);
	}
	return result;
}

/* Any thread merges a block of rows; their sums are added in the order of rows,
 * so the number of threads changes nothing. */
enum { BLOCK = 32 };

struct merging { const struct rows *rows; double update, error; bool broken; };

static void merge_block(void *context, size_t block, void *slot)
{
	const struct rows *r = ((struct merging *)context)->rows;
	struct scratch s = scratch_new(r->columns);
	struct row_result *result = slot;

	for (size_t o = block * BLOCK; o < r->rows && o < (block + 1) * BLOCK; o++)
		*result++ = merge_row(r, o, &s);
	scratch_free(&s);
}

static int add_block(void *context, size_t block, void *slot)
{
	const struct row_result *result = slot;
	struct merging *m = context;

	for (int i = 0; i < BLOCK; i++) {
		m->update += result[i].update;
		m->error += result[i].error;
		m->broken |= result[i].broken;
	}
	return 0;
}

static struct merging merge_rows(const struct rows *r)
{
	struct merging m = { .rows = r };
	const struct ring_job blocks = { .count = (r->rows + BLOCK - 1) / BLOCK, .threads = threads_default(),
					 .slot = BLOCK * sizeof(struct row_result), .context = &m, .work = merge_block,
					 .take = add_block };

	ring_run(&blocks);      /* add_block() never says no */
	return m;
}

/* The length of a column is over all rows, so they are read once before anything is written, by one thread, for one
 * order. */
static double *input_gains(const struct rows *r, const struct update *u, size_t in)
{
	struct scratch s = scratch_new(r->columns);
	double *gain = xcalloc(r->columns, sizeof(*gain)), *squares = xcalloc(in, sizeof(*squares));
	const size_t taps = r->columns / in;

	for (size_t o = 0; o < r->rows; o++) {
		gather(s.bytes, r, o);
		to_float(s.before, s.bytes, r->dtype, r->columns);
		add_row(s.own, s.before, r, u, o);
		for (size_t j = 0; j < r->columns; j++)
			squares[j / taps] += s.own[j] * s.own[j];
	}
	for (size_t j = 0; j < r->columns; j++)
		gain[j] = u->lengths[j / taps] / (sqrt(squares[j / taps]) + NO_LENGTH);
	free(squares);
	scratch_free(&s);
	return gain;
}

static int read_update(struct update *u, const struct merge_job *job, const struct rows *r, bool finite,
		       struct error *e)
{
	const struct file_module *m = job->module;
	struct delta *d = &u->delta;

	*u = (struct update){ .delta = { .kind = m->kind, .form = &m->form, .w = layer_weight(m->layer),
					 .scale = job->scale },
			      .weight = job->weight };
	for (int i = 0; i < BRANCH_PARTS; i++)
		if (m->part[i] && !(d->part[i] = adapter_file_floats(job->file, m->part[i], finite, e)))
			return -1;
	delta_begin(d);
	if (!m->lengths)
		return 0;
	u->lengths = adapter_file_floats(job->file, m->lengths, finite, e);
	if (u->lengths && m->by_input)
		u->gain = input_gains(r, u, d->w->in);
	return u->lengths ? 0 : -1;
}

static void free_update(struct update *u)
{
	delta_end(&u->delta);
	free(u->lengths);
	free(u->gain);
}

static int merge_all_rows(struct merge *m, const struct rows *r, const struct merge_job *job, struct error *e)
{
	const struct merging done = merge_rows(r);
	const struct layer_result total = { .job = job, .adapters = r->count, .update = sqrt(done.update),
					    .error = sqrt(done.error) };

	if (done.broken && !m->options->allow_nonfinite)
		return fail(e, EXIT_INPUT,
			    "%s: the sum for '%.200s' leaves the range of %s; give the adapter a lower weight",
			    source_file(m->files, job->place.file)->path, job->place.tensor->name,
			    dtype_name(r->dtype));
	m->update_squares += done.update;
	m->error_squares += done.error;
	return merge_report(m, &total, e);
}

/* The jobs of one layer. */
static int merge_layer(struct merge *m, const struct merge_job *job, size_t count, unsigned char *out, struct error *e)
{
	struct update *u = xcalloc(count, sizeof(*u));
	struct rows r = layout(job, source_file(m->files, job->place.file), out);
	int status = 0;

	r.update = u;
	r.count = count;
	for (size_t i = 0; i < count && !status; i++)
		status = read_update(&u[i], &job[i], &r, !m->options->allow_nonfinite, e);
	if (!status)
		status = merge_all_rows(m, &r, job, e);
	for (size_t i = 0; i < count; i++)
		free_update(&u[i]);
	free(u);
	return status;
}

int merge_tensor(struct merge *m, const struct merge_job *job, size_t count, unsigned char *out, struct error *e)
{
	const struct safetensor *t = job->place.tensor;
	size_t first = 0;

	memcpy(out, safetensors_bytes(source_file(m->files, job->place.file), t), t->bytes);
	for (size_t i = 1; i <= count; i++) {
		if (i < count && job[i].module->layer == job[first].module->layer)
			continue;
		if (merge_layer(m, job + first, i - first, out, e))
			return -1;
		first = i;
	}
	return 0;
}
