/*
 * workload.h - a workload: all that decides the memory of a run, its settings and facts that no setting changes.
 *
 * A run fills one for itself; a what-if copies it and changes the settings.  The facts are borrowed.
 */
#ifndef TRAIN_PLAN_WORKLOAD_H
#define TRAIN_PLAN_WORKLOAD_H

#include "../witness.h"

struct workload {
	struct train_settings s;
	struct optimizer_settings optimizer;
	bool common_batch;                      /* samples' own batch sizes are ignored */
	const struct run_data *data;
	struct model_files *files;
	const struct objective *objective;
	const struct run_samples *samples;      /* NULL: no pictures are painted */
	uint64_t seed;
	bool joined;                            /* several ranks' devices exchange sums and weights themselves */
};

#endif
