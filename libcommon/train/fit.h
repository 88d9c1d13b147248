/*
 * fit.h - what is done to make a run fit into memory.  It changes no bit of the result.
 */
#ifndef TRAIN_FIT_H
#define TRAIN_FIT_H

#include <stdbool.h>
#include <stddef.h>
#include "../model/source.h"

struct plan_way {
	size_t checkpoints;             /* number of a step's first blocks with gradient checkpointing */
	bool cheap_again;               /* what norms and activations make is made again for backward */
	enum on_host on_host;           /* weights that visit the device */
};

#endif
