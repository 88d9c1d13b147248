/*
 * prepare_claims.h - the files of a data set are read: nothing that lora-prep writes may be one of them.
 *
 * Private to lora-prep's work.
 */
#ifndef DATA_PREPARE_CLAIMS_H
#define DATA_PREPARE_CLAIMS_H

#include "prepare_rules.h"

/* Pictures, captions and masks; with --folder also what is in the folders that are written to.  EXIT_USAGE where one is both. */
int prepare_claim(const struct prepare_options *o, const struct prepare_rules *r, const struct pictures *list, struct error *e) MUST_CHECK;

#endif
