/*
 * networks.h - what a run holds on its device: the frozen model, the adapter in training, the arena of a step (the
 * memory of its tape).
 *
 * On the dry device all of it is only counted.  Must not know data.
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
	struct quantising quantising;   /* of what the files' weights become */
	const struct backend *be;
	struct device *device;
	struct unet *unet;
	struct text_encoders text;      /* none loaded: text outputs come with the latents */
	struct networks step;           /* those of these that a step uses */
	struct layer_list layers;
	enum dtype inner;               /* of activations between layers */
	struct adapter *adapter;
	struct adapter **base;          /* frozen, part of the model in this run */
	size_t bases;
	struct tape *tape;              /* NULL: the arena is freed, and its memory is used for something else */
	size_t activation_bytes;        /* the arena's */
	struct plan_way way;            /* what is done to make all of it fit (fit.h) */
	size_t host_room;               /* of the machine's memory, for this rank of several; 0: not said */
	size_t planned_bytes;           /* of device memory, at most */
	size_t blocks;                  /* of a step, the first way.checkpoints of which are checkpointed */
};

/* To be called in this order.  encoded: text outputs come with the data,
 * so text encoders are loaded only to be trained. */
int networks_open_files(struct run_networks *n, struct error *e) MUST_CHECK;
int networks_open_device(struct run_networks *n, struct error *e) MUST_CHECK;
int networks_load_text(struct run_networks *n, bool encoded, struct error *e) MUST_CHECK;
int networks_load_unet(struct run_networks *n, struct error *e) MUST_CHECK;
/* networks_adapter.c: the adapter in training, the frozen ones before it, and the course's optimizer and averages */
int networks_make_adapter(struct run_networks *n, struct course *c, struct error *e) MUST_CHECK;
/* Adds the adapter's settings to the identity, only where they are not the default. */
void networks_adapter_identity(const struct train_settings *s, struct buffer *out);
/* Allocates the arena, if it is not there; frees it, where others need its memory. */
int networks_take_arena(struct run_networks *n, struct error *e) MUST_CHECK;
void networks_give_arena(struct run_networks *n);
void networks_free(struct run_networks *n);

#endif
