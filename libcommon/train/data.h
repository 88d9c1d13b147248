/*
 * data.h - the data of a run: the latents, their order, and their captions.
 *
 * Must not know networks, objectives or the output folder.  A struct caption_visit tells which step it is.
 */
#ifndef TRAIN_DATA_H
#define TRAIN_DATA_H

#include "../data/latents.h"
#include "../model/source.h"
#include "order.h"
#include "settings/settings.h"

struct run_data {
	struct train_settings *s;
	struct latent_set set;          /* the samples that are trained on; those held out follow in memory */
	size_t held_out;
	bool headers_only;              /* latents are looked at, not read: samples have no payload */
	bool stand_in;                  /* no latents: samples without payload, made of the settings or of a report */
	struct order *order;
	struct captions *captions;  /* words of each sample and visit; NULL: not opened */
	bool replaying;                 /* --replay-step, once memory was measured */
	uint32_t *replayed;             /* when replaying: every sample of the data, in order */
};

/* Refuses latents whose first sample shows that they are none, before a model is read.  Of pipes and of lists of parts
 * nothing is looked at, nor of what is not there: where the model is missing too, that is what to mend first. */
int data_look(const char *const *latents, size_t count, struct error *e) MUST_CHECK;
/* Reads latent tars, or makes stand-ins for them where nothing is trained.  Moves what is held out behind the rest,
 * checks sizes against the model's, and makes the order. */
int data_open(struct run_data *d, struct model_files *files, uint64_t seed, const char *const *latents, size_t count,
	      struct error *e) MUST_CHECK;
/* Another order of the same samples, as other settings have it.  s->batch_size becomes that of the largest batch, which
 * numbers a step's samples.  common_batch: samples' own batch sizes do not count. */
struct order *data_order(const struct run_data *d, struct train_settings *s, bool common_batch, uint64_t seed);
long data_updates_per_epoch(const struct run_data *d);
void data_free(struct run_data *d);

/* data_hold_out.c */
int data_hold_out(struct run_data *d, uint64_t seed, struct error *e) MUST_CHECK;

/* data_stand_in.c: one sample for each bucket of the settings, with as many visits as fill a batch; or the pictures of
 * a report of lora-prep, each with its bucket and repeats, which give the length and the batches of the future run. */
int data_from_buckets(struct run_data *d, const struct model_config *c, struct error *e) MUST_CHECK;
int data_from_report(struct run_data *d, const struct model_config *c, struct error *e) MUST_CHECK;

/* data_origin.c: refuses latents of another VAE or other text encoders, or warns of them */
int data_check_origin(const struct run_data *d, struct model_files *files, struct error *e) MUST_CHECK;

/* data_visit.c: the samples of a step.  item numbers them over all its micro-batches, so that gradient accumulation
 * draws the same numbers as one large batch.  A micro-batch is a leaf of optimize/leaves.h. */
/* --replay-step: from now on the data are one step's, whose batches the samples' numbers tell apart. */
int data_begin_replay(struct run_data *d, struct error *e) MUST_CHECK;
struct order_place data_place(const struct run_data *d, long step);     /* step: from 0 */
struct order_batch data_batch(struct run_data *d, const struct order_place *place, int micro);
struct caption_visit data_visit(const struct run_data *d, uint64_t seed, long step, long total, uint32_t item);
/* A sample for one visit: mirrored or not, with one of its captions.  It borrows the data's memory. */
struct latent_sample data_drawn(const struct run_data *d, uint32_t sample, const struct caption_visit *v);

/* The shapes of batches that the order gives, with the memory of a step once it was measured (batch.h); malloced. */
struct batch_shape {
	int n, h, w;
	uint32_t sample;                /* one of its samples */
	size_t bytes, blocks;           /* activations; blocks that may be checkpointed */
};
size_t data_shapes(const struct run_data *d, struct order *order, struct batch_shape **shapes);
/* that most visits see; of equals the first in the data */
void data_common_bucket(const struct run_data *d, int size[2]);

#endif
