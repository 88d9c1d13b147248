/*
 * internal.h - struct merge, and the steps of merging.
 *
 * Private to this folder: mode_into.c (the plan), update.c and tensor.c (the arithmetic), report.c,
 * writing.c, file.c and folder.c (the output).
 */
#ifndef MERGE_INTERNAL_H
#define MERGE_INTERNAL_H

#include "../base/hash.h"
#include "../base/progress.h"
#include "../io/json.h"
#include "../io/publish.h"
#include "../adapter/adapter_file.h"
#include "../model/outline.h"
#include "merge.h"

/* The module of one adapter that is added to its rows of one tensor. */
struct merge_job {
	struct source_place place;
	const struct adapter_file *file;
	const struct file_module *module;
	double scale;                   /* of dW, with the weight; with lengths: without it */
	double weight;
	size_t adapter;                 /* its number in the order given */
};

/* A layer's bias as a layer of its own, which modules of full differences change: one for each adapter that does. */
struct merge_bias { struct layer layer; struct norm shape; struct file_module *module; };

struct merge {
	const struct merge_options *options;
	struct model_files *files;
	struct outline outline;         /* every layer that the model's files hold */
	struct merge_bias *bias;        /* of every layer of the outline */
	struct adapter_file **adapter;
	struct shares *shares;
	struct merge_job *job;          /* in the order of files, tensors, rows, adapters */
	size_t jobs, capacity;
	struct publish *report;
	struct progress *progress;
	size_t layers_done, tensors_done;
	double update_squares, error_squares;   /* over all layers */
};

/* writing.c */
/* A file that is being written. */
struct writing {
	struct publish *out;
	bool hashed;                    /* its metadata has a place for the hash */
	struct sha256 hash;             /* of everything behind the header */
};
int merge_put(struct writing *w, const void *bytes, size_t n, struct error *e) MUST_CHECK;
/* The tensor's bytes from..to as they are, checked. */
int merge_copy(struct merge *m, struct writing *w, const struct safetensors *s, const struct safetensor *t,
	       size_t from, size_t to, struct error *e) MUST_CHECK;
int merge_nonfinite(const char *path, const char *tensor, struct error *e);     /* -1 */

/* tensor.c */
/* Writes one tensor, with count jobs in it. */
int merge_tensor(struct merge *m, struct writing *w, const struct safetensors *s, const struct safetensor *t,
		 const struct merge_job *job, size_t count, struct error *e) MUST_CHECK;

/* report.c */
struct layer_result { const struct merge_job *job; size_t adapters; double update, error; };    /* Frobenius norms */
int merge_report(struct merge *m, const struct layer_result *r, struct error *e) MUST_CHECK;    /* a line for a layer */
int merge_report_total(struct merge *m, struct error *e) MUST_CHECK;

/* file.c */
/* File i of the model, to path. */
int merge_file(struct merge *m, size_t i, const char *path, struct error *e) MUST_CHECK;

/* folder.c */
int merge_folder(struct merge *m, struct error *e) MUST_CHECK;

#endif
