/*
 * networks.h - what a run holds on its device: the frozen model, the adapter in training, the arena of a step.
 *
 * The same for the dry device, where it is only counted.  Must not know data beyond the shapes of batches, nor optimizers.
 */
#ifndef TRAIN_NETWORKS_H
#define TRAIN_NETWORKS_H

#include "../adapter/adapter.h"
#include "fit.h"
#include "step.h"

struct run_networks {
	struct model_files *files;
	const struct backend *be;
	struct device *device;
	struct unet *unet;
	struct clip *te1, *te2;         /* NULL: text comes from the latents */
	struct networks step;           /* of these, what a step sees */
	struct layer_list layers;
	struct adapter *adapter;
	struct adapter **base;          /* frozen, part of the model in this run */
	size_t bases;
	struct tape *tape;              /* NULL: another has the arena's room */
	size_t activation_bytes;        /* the arena's */
	struct plan_way way;            /* how all of it is made to fit */
	size_t planned_bytes;           /* of device memory, at most */
};

#endif
