/*
 * lint.h - lora-prep --lint: finds what would harm training, before any model is loaded.  It writes findings alone.
 *
 * Each finding is a line of JSON on standard output: event "finding", severity, code, path (null: the whole set), say.
 * Owns which findings there are and their limits; the manual lists them.  Must not know command lines.
 */
#ifndef DATA_LINT_H
#define DATA_LINT_H

#include "caption_variants.h"
#include "prepare.h"

struct lint_options {
	const char *model, *tokenizer;  /* where the vocabulary that counts tokens is from; both NULL: CLIP's own */
	long batch_size;
	struct caption_options captions;        /* only the separators are used; a dataset config overrides them */
};

/* EXIT_INPUT when a finding is an error. */
int lint(const struct prepare_options *o, const struct lint_options *l, struct error *e) MUST_CHECK;

#endif
