/*
 * prepare_claims.h - claims the files of a data set (io/claims.h), so that lora-prep writes over none of them.
 *
 * Private to prepare.c and lint.c.
 */
#ifndef DATA_PREPARE_CLAIMS_H
#define DATA_PREPARE_CLAIMS_H

#include "prepare_rules.h"

/* Claims pictures, captions and masks; with --folder also what is in the folders that are written to.  EXIT_USAGE where
 * a file is both read and written. */
int prepare_claim(const struct prepare_options *o, const struct prepare_rules *r, const struct pictures *list,
		  struct error *e) MUST_CHECK;

#endif
