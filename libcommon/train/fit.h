/*
 * fit.h - how a run is made to fit into memory: nothing of it changes a bit of what comes out.
 */
#ifndef TRAIN_FIT_H
#define TRAIN_FIT_H

#include <stdbool.h>
#include <stddef.h>

struct plan_way {
	size_t checkpoints;             /* of a step's blocks, the first so many are checkpointed */
	bool text_on_host;              /* the UNet's weights that read the text lie in host memory */
};

#endif
