/*
 * merged_layer.h - one layer's weights inside a file, and what adapters add to a rectangle of them.
 *
 * Private to merge/: update.c (the update), tensor.c (the weights).
 */
#ifndef MERGE_MERGED_LAYER_H
#define MERGE_MERGED_LAYER_H

#include "internal.h"

/* One adapter's module of the layer. */
struct update {
	struct delta delta;
	float *lengths;                 /* DoRA: [out] or [in]; NULL: none */
	double *gain;                   /* DoRA: a new length over the old one, [rows] or [columns] */
	double eps;                     /* DoRA: beside the old length */
	bool by_input;                  /* of columns; those of a kernel share one */
	double weight;                  /* DoRA: the factor of W' - W */
};

/* W as [rows][columns] = [out][in * kh * kw].  A line is what lies together in the file: a row or, transposed, a
 * column. */
struct merged_layer {
	const struct safetensors *file;
	const unsigned char *in;        /* its first element */
	enum dtype dtype;
	size_t size;                    /* bytes an element */
	size_t rows, columns;
	bool transposed;
	double scale;                   /* W is so many times the file's numbers */
	struct update *update;
	size_t updates;
};

/* Elements of a row at a time, so that what is computed stays in the second-level cache; rows at a time at most. */
enum { TILE_COLUMNS = 256, TILE_ROWS = 96, MOST_THREADS = 16 };
static inline size_t lesser(size_t a, size_t b) { return a < b ? a : b; }

int merged_layer_begin(struct merged_layer *l, struct merge *m, const struct merge_job *job, size_t count,
		       struct error *e) MUST_CHECK;
void merged_layer_end(struct merged_layer *l);
/* t->sum [rows][columns] = the update in the file's numbers, in double, adapter by adapter; room: as much again */
void merged_layer_update(const struct merged_layer *l, const struct delta_tile *t, double *room);

#endif
