/* run_facts.h - a run as kohya's metadata. */
#ifndef TRAIN_RUN_FACTS_H
#define TRAIN_RUN_FACTS_H

#include "../adapter/metadata.h"
#include "run_internal.h"

/* Appends every ss_* key that the run knows; release with metadata_free(). */
void run_metadata(const struct run *r, struct metadata_list *out);

#endif
