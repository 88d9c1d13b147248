/*
 * networks.h - what a run holds on its device: the frozen model, the adapter in training, the arena of a step.
 *
 * The same for the dry device, where it is only counted.  Must not know data.
 */
#ifndef TRAIN_NETWORKS_H
#define TRAIN_NETWORKS_H

#include "../adapter/adapter.h"
#include "../model/source.h"
#include "course.h"
#include "fit.h"
#include "settings/settings.h"
#include "step.h"

struct run_networks {
	const struct train_settings *s;
	struct model_files *files;
	const struct backend *be;
	struct device *device;
	struct unet *unet;
	struct text_encoders text;      /* none: text comes from the latents */
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

/* In this order.  encoded: text outputs come with the data, so the text encoders are loaded only to be trained. */
int networks_open_files(struct run_networks *n, struct error *e) MUST_CHECK;
int networks_open_device(struct run_networks *n, struct error *e) MUST_CHECK;
int networks_load_text(struct run_networks *n, bool encoded, struct error *e) MUST_CHECK;
int networks_load_unet(struct run_networks *n, struct error *e) MUST_CHECK;
/* networks_adapter.c: what is trained and what hangs before it; with the course's optimizer and average */
int networks_make_adapter(struct run_networks *n, struct course *c, struct error *e) MUST_CHECK;
/* Words for the identity, only where something is not usual */
void networks_adapter_identity(const struct train_settings *s, struct buffer *out);
/* The arena is given back and taken again where others need its room.  Nothing if it is there. */
int networks_take_arena(struct run_networks *n, struct error *e) MUST_CHECK;
void networks_give_arena(struct run_networks *n);
void networks_free(struct run_networks *n);

#endif
