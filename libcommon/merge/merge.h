/*
 * merge.h - lora-merge: adapters into a checkpoint, and adapters into other adapters.
 *
 * Owns the modes, each with the options that it takes; their arithmetic and their outputs.  Weights are worked on
 * some rows at a time, and what was read of a file is given back: a checkpoint of any size takes the same memory.
 */
#ifndef MERGE_H
#define MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include "../base/error.h"
#include "../base/names.h"
#include "shares.h"

/* As the command line gives them.  What a mode does not take is not set. */
struct merge_options {
	const char *model, *model_config;       /* as for model_files_open() */
	/* "FILE" or "FILE:WEIGHT": of --lora, or the operands behind the mode */
	const char *const *adapter;
	size_t adapters;
	/* into: a new folder for a folder, a file for a file.  Other modes: an adapter's file */
	const char *out;
	const char *report;                     /* JSON lines, one a module; NULL: none */
	bool allow_nonfinite;
	struct share_texts shares;
	long rank;                              /* 0: not said */
	const char *save_precision;             /* "float", "fp16", "bf16"; NULL: as the inputs are */
	/* ---- add ---- */
	bool exact;
	const char *method;                     /* a name of methods.h; NULL: a plain sum */
	double density;
	const char *seed;
	bool negated;                           /* every weight with the other sign */
	/* ---- average: 0: not said ---- */
	double ema, width;
	/* ---- convert ---- */
	const char *to;                         /* the name of an adapter_target */
	bool keep_kind;
	/* ---- another rank; 0 and NULL: not said ---- */
	long conv_rank;
	double keep;                            /* of the update's squares */
	const char *dynamic_method;             /* a name of ranks.h */
	double dynamic_param;
	/* ---- extract ---- */
	const char *base, *tuned;
	bool bias, norm;
};

/* A mode: a row of modes.c. */
struct merge_mode {
	const char *name;
	const char *synopsis;                   /* what stands behind the mode: "FILE[:W]... -o OUT" */
	const char *takes;                      /* options, by name, with blanks between them */
	size_t least, most;                     /* adapters among the operands; most 0: it takes no operands */
	int (*run)(const struct merge_options *o, struct error *e);
};

/* All modes' names: "into, add and convert". */
struct names merge_mode_names(void);
struct names merge_mode_choices(void);  /* "into|add|..." */
/* Runs the mode that the first operand names; the others are o->adapter of modes that take operands.  tool: its
 * options that were typed must be of the mode, and say something beside the others. */
struct tool;
int merge_run(const char *const *operand, size_t operands, const struct tool *tool, struct merge_options *o,
	      struct error *e) MUST_CHECK;

/* ---- the modes ---- */

/* W += weight * alpha / rank * up down for a LoRA, in the checkpoint's own layout and types. */
int merge_into(const struct merge_options *o, struct error *e) MUST_CHECK;
/* An adapter whose update is the sum of others', times their weights. */
int merge_add(const struct merge_options *o, struct error *e) MUST_CHECK;
/* An adapter whose update is another's times -1. */
int merge_negate(const struct merge_options *o, struct error *e) MUST_CHECK;
/* The saves of one run as one adapter. */
int merge_average(const struct merge_options *o, struct error *e) MUST_CHECK;
/* Cosines between the updates of adapters, by layers, blocks and of all, to standard output. */
int merge_interference(const struct merge_options *o, struct error *e) MUST_CHECK;
/* An adapter under the names of other readers. */
int merge_convert(const struct merge_options *o, struct error *e) MUST_CHECK;
/* An adapter with every module at another rank, by its singular values. */
int merge_resize(const struct merge_options *o, struct error *e) MUST_CHECK;
/* The difference of two models as an adapter. */
int merge_extract(const struct merge_options *o, struct error *e) MUST_CHECK;

#endif
