/*
 * prepare_rules.h - which rules a picture falls under: those of the command line, or of its subset in a dataset config.
 * Private to lora-prep's work.
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
	long batch_size;                /* 0: not said */
	const char *caption_options;    /* JSON for training; NULL: none */
};

struct prepare_rules {
	struct picture_rules *each;     /* struct picture's .rules counts them */
	size_t count;
	struct dataset_config dataset;
};

int prepare_rules_make(const struct prepare_options *o, struct prepare_rules *r, struct error *e) MUST_CHECK;
void prepare_rules_free(struct prepare_rules *r);
/* The pictures of every folder that is named, at least one of them for training, sorted; regularisation pictures matched with the training pictures of their own
 * dataset.  Their files are claimed: EXIT_USAGE where one would be written over. */
int prepare_rules_scan(const struct prepare_rules *r, const struct prepare_options *o, struct pictures *list, struct error *e)
	MUST_CHECK;

#endif
