/*
 * lengths_turned.h - a DoRA's lengths of outputs as lengths of inputs, and the other way round.
 *
 * Private to merge/.  Lengths of one side multiply rows of W + dW, those of the other columns: the two make the same
 * weights only where all gains are equal, as before training.
 */
#ifndef MERGE_LENGTHS_TURNED_H
#define MERGE_LENGTHS_TURNED_H

#include "../adapter/adapter_file.h"

/* *lengths of the side that m->lengths are not of, malloced.  NULL: there are none that make the same weights. */
int lengths_turned(float **lengths, const struct adapter_file *a, const struct file_module *m,
		   struct model_files *files, struct error *e) MUST_CHECK;

#endif
