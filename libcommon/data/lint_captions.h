/*
 * lint_captions.h - finds captions with more tokens than are read, and tags that look misspelt.  Private to lora-prep's
 * --lint.
 */
#ifndef DATA_LINT_CAPTIONS_H
#define DATA_LINT_CAPTIONS_H

#include "../model/tokenizers.h"
#include "caption_tags.h"
#include "lint_finding.h"

/* Reports, for each line of a caption, the words that the text encoders do not read.  t: up to the first NULL. */
int captions_cut(struct findings *f, struct tokenizer *const t[TEXT_ENCODERS], const char *path, const char *caption)
	MUST_CHECK;

/* Tags with the number of captions that have them, in the order in which they were first seen. */
struct tags;
struct tags *tags_new(void);
void tags_free(struct tags *t);                                 /* accepts NULL */
/* Adds the tags that training cuts the caption into; path must outlive t. */
void tags_add(struct tags *t, const struct caption_options *o, const char *path, const char *caption);
/* Reports each tag that is one letter (added, missing, other, or swapped with its neighbour) from another tag that is
 * at least TAGS_RATIO times as frequent.  Digits are no letters: "1girl" and "2girl" both mean something. */
#define TAGS_RATIO 5
int tags_report(const struct tags *t, struct findings *f) MUST_CHECK;

#endif
