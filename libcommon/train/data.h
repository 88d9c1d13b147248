/*
 * data.h - what a run is trained on: the latents, in which order they come, and their captions.
 *
 * Must not know networks beyond the model's sizes, nor what is learnt.
 */
#ifndef TRAIN_DATA_H
#define TRAIN_DATA_H

#include "../data/latents.h"
#include "order.h"

struct run_data {
	struct latent_set set;          /* what is trained on; behind it in memory lies what is held out */
	size_t held_out;
	bool headers_only;              /* latents are looked at, not read: samples have no payload */
	bool stand_in;                  /* no latents: a sample of each bucket, without its payload */
	bool common_batch;              /* samples' own batch sizes do not count */
	struct order *order;
	struct run_captions *captions;  /* words of each sample and visit */
	bool replaying;                 /* --replay-step, once memory was measured */
	uint32_t *replayed;             /* then: every sample of the data, in order */
};

#endif
