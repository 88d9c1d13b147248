/* lora-merge: the new bytes of one tensor, computed by threads a block ahead of where they are written. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../base/thread.h"
#include "../data/ring.h"
#include "../io/nearest.h"
#include "merged_layer.h"

/* Lines of a layer, at most so many bytes of them. */
enum { BLOCK_BYTES = 2 << 20 };
struct block { unsigned char *bytes; struct nearest_sums *line; };

struct merging {
	struct merge *merge;
	struct writing *to;
	const struct merged_layer *layer;
	const struct merge_job *job;    /* for messages */
	size_t lines, length, each;     /* of the layer; elements of a line; lines of a block */
	struct nearest_sums all;
	struct error *e;
};

struct room { double sum[TILE_ROWS * TILE_COLUMNS], own[TILE_ROWS * TILE_COLUMNS], line[TILE_COLUMNS]; };

static size_t lines_of(const struct merging *g, size_t block)
{
	return lesser(g->each, g->lines - block * g->each);
}

/* A scale was chosen so that the weights fill the type's range.  A sum beyond it becomes the nearest number, which is
 * the greatest, and counts as an error. */
static void limit_sums(const struct merged_layer *l, const unsigned char *in, double *sum, size_t n,
		       struct nearest_sums *s)
{
	const double most = l->dtype == DTYPE_F8_E4M3 ? 448 : 57344;

	for (size_t i = 0; i < n; i++) {
		float before;
		double excess;

		to_float(&before, in + i * l->size, l->dtype, 1);
		excess = fabs(before + sum[i]) - most;
		if (!(excess > 0) || !isfinite(excess))
			continue;
		s->error += excess * excess;
		s->update += sum[i] * sum[i];
		sum[i] = copysign(most, before + sum[i]) - before;
		s->update -= sum[i] * sum[i];
	}
}

/* Elements at..at+n of the block's lines. */
static void merge_tile(const struct merging *g, size_t block, size_t at, size_t n, const struct block *b,
		       struct room *room)
{
	const struct merged_layer *l = g->layer;
	const size_t first = block * g->each, lines = lines_of(g, block);
	const struct delta_tile rows = { first, lines, at, n, room->sum, n },
				columns = { at, n, first, lines, room->sum, lines };

	merged_layer_update(l, l->transposed ? &columns : &rows, room->own);
	for (size_t i = 0; i < lines; i++) {
		unsigned char *to = b->bytes + (i * g->length + at) * l->size;
		double *sum = l->transposed ? room->line : room->sum + i * n;

		for (size_t k = 0; k < n && l->transposed; k++)
			room->line[k] = room->sum[k * lines + i];
		if (l->scale != 1 && dtype_size(l->dtype) == 1)
			limit_sums(l, to, sum, n, &b->line[i]);
		nearest_add(to, to, l->dtype, sum, n, &b->line[i]);
	}
}

static void merge_block(void *context, size_t block, void *slot)
{
	const struct merging *g = context;
	const size_t lines = lines_of(g, block), bytes = g->length * g->layer->size;
	struct block *b = slot;
	struct room *room = xmalloc(sizeof(*room));

	b->bytes = xmalloc(lines * bytes);
	memcpy(b->bytes, g->layer->in + block * g->each * bytes, lines * bytes);        /* in order: tiles jump */
	b->line = xcalloc(lines, sizeof(*b->line));
	for (size_t at = 0; at < g->length; at += TILE_COLUMNS)
		merge_tile(g, block, at, lesser(TILE_COLUMNS, g->length - at), b, room);
	free(room);
}

static int check_sums(const struct merging *g)
{
	const char *path = g->layer->file->path, *name = g->job->place.tensor->name;

	if (g->merge->options->allow_nonfinite)
		return 0;
	if (g->all.unsound)
		return merge_nonfinite(path, name, g->e);
	if (g->all.broken)
		return fail(g->e, EXIT_INPUT,
			    "%s: the sum for '%.200s' leaves the range of %s; give the adapter a lower weight", path,
			    name, dtype_name(g->layer->dtype));
	return 0;
}

/* Lines are added in their order, so the number of threads changes nothing. */
static int write_block(void *context, size_t block, void *slot)
{
	struct merging *g = context;
	const struct block *b = slot;
	const size_t lines = lines_of(g, block), bytes = g->length * g->layer->size;

	for (size_t i = 0; i < lines; i++) {
		g->all.update += b->line[i].update;
		g->all.error += b->line[i].error;
		g->all.unsound |= b->line[i].unsound;
		g->all.broken |= b->line[i].broken;
	}
	safetensors_release(g->layer->file, g->layer->in + block * g->each * bytes, lines * bytes);
	return check_sums(g) ? -1 : merge_put(g->to, b->bytes, lines * bytes, g->e);
}

static void free_block(void *slot)
{
	struct block *b = slot;

	free(b->bytes);
	free(b->line);
}

static int merge_blocks(struct merge *m, struct writing *w, const struct merged_layer *l, const struct merge_job *job,
			struct error *e)
{
	struct merging g = { .merge = m, .to = w, .layer = l, .job = job, .e = e,
			     .lines = l->transposed ? l->columns : l->rows,
			     .length = l->transposed ? l->rows : l->columns };
	struct ring_job blocks = { .threads = (int)lesser(threads_default(), MOST_THREADS),
				   .slot = sizeof(struct block), .context = &g, .work = merge_block,
				   .take = write_block, .release = free_block };
	struct layer_result total = { .job = job, .adapters = l->updates };

	g.each = lesser(BLOCK_BYTES / (g.length * l->size) + 1, TILE_ROWS);
	blocks.count = (g.lines + g.each - 1) / g.each;
	if (ring_run(&blocks))
		return -1;
	total.update = l->scale * sqrt(g.all.update);
	total.error = l->scale * sqrt(g.all.error);
	m->update_squares += l->scale * l->scale * g.all.update;
	m->error_squares += l->scale * l->scale * g.all.error;
	return merge_report(m, &total, e);
}

/* The jobs of one layer. */
static int merge_layer(struct merge *m, struct writing *w, const struct merge_job *job, size_t count, size_t *end,
		       struct error *e)
{
	struct merged_layer l;
	int status = merged_layer_begin(&l, m, job, count, e);
	const unsigned char *start = safetensors_bytes(l.file, job->place.tensor);

	if (!status && *end < (size_t)(l.in - start))
		status = merge_copy(m, w, l.file, job->place.tensor, *end, l.in - start, e);
	if (!status)
		status = merge_blocks(m, w, &l, job, e);
	*end = l.in - start + l.rows * l.columns * l.size;
	merged_layer_end(&l);
	return status;
}

int merge_tensor(struct merge *m, struct writing *w, const struct safetensors *s, const struct safetensor *t,
		 const struct merge_job *job, size_t count, struct error *e)
{
	size_t first = 0, end = 0;

	for (size_t i = 1; i <= count; i++) {
		if (i < count && job[i].module->layer == job[first].module->layer)
			continue;
		if (merge_layer(m, w, job + first, i - first, &end, e))
			return -1;
		first = i;
	}
	return merge_copy(m, w, s, t, end, t->bytes, e);
}
