/* kohya_metadata.h - a run as the metadata of its adapter, under the keys of sd-scripts. */
#ifndef TRAIN_KOHYA_METADATA_H
#define TRAIN_KOHYA_METADATA_H

#include "../adapter/metadata.h"
#include "keeper.h"

/* EXIT_USAGE: SOURCE_DATE_EPOCH is no date */
int kohya_metadata_check(struct error *e) MUST_CHECK;
/* Appends every ss_* key that the run knows; release with metadata_free(). */
void kohya_metadata(const struct keeper *k, struct metadata_list *out);

#endif
