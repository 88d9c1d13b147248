/*
 * merge.h - lora-merge: adds adapters to the weights of a checkpoint, W += weight * alpha / rank * up down for a LoRA,
 * in the checkpoint's own layout and types.
 *
 * Owns the arithmetic and the output files.  Works on one tensor at a time, so the memory needed is that of the
 * largest.
 */
#ifndef MERGE_H
#define MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include "../base/error.h"

struct merge_options {
	const char *model, *model_config;       /* as for model_files_open() */
	const char *const *adapter;             /* "FILE" or "FILE:WEIGHT" */
	size_t adapters;
	const char *out;                        /* a new folder for a folder, a file for a file */
	const char *report;                     /* JSON lines, one a layer; NULL: none */
	bool allow_nonfinite;
};

int merge_into(const struct merge_options *o, struct error *e) MUST_CHECK;

#endif
