/*
 * prepare_rules.h - the rules for each picture: those of the command line, or of its subset in a dataset config.
 * Private to lora-prep's files, prepare*.c and lint.c.
 */
#ifndef DATA_PREPARE_RULES_H
#define DATA_PREPARE_RULES_H

#include "../config/dataset_config.h"
#include "folder.h"
#include "prepare.h"
#include "resample.h"

struct picture_rules {
	struct buckets buckets;
	struct caption_rules captions;
	bool flip, alpha_mask, has_filter;
	enum resample_filter filter;    /* with has_filter only; else area when shrinking, Lanczos when enlarging */
	const char *mask_dir;           /* NULL: no pictures of masks */
	long batch_size;                /* 0: not given */
	const char *caption_options;    /* JSON for training; NULL: none */
};

struct prepare_rules {
	struct picture_rules *each;     /* indexed by .rules of struct picture */
	size_t count;
	struct dataset_config dataset;
};

int prepare_rules_make(const struct prepare_options *o, struct prepare_rules *r, struct error *e) MUST_CHECK;
void prepare_rules_free(struct prepare_rules *r);
/* Lists the pictures of every folder that is named, sorted, at least one of them for training.  Regularisation pictures
 * are matched with the training pictures of their own dataset.  Claims the files: EXIT_USAGE where one would be written
 * over. */
int prepare_rules_scan(const struct prepare_rules *r, const struct prepare_options *o, struct pictures *list,
		       struct error *e)
	MUST_CHECK;

#endif
