/*
 * batch.h - assembles the batch of a step: latents with noise, targets, timesteps, text, masks.
 *
 * A step is one update of the optimizer.  It has one batch or, with gradient accumulation, several micro-batches.
 */
#ifndef TRAIN_BATCH_H
#define TRAIN_BATCH_H

#include "course.h"
#include "data.h"
#include "networks.h"

struct batch_source {
	const struct train_settings *s;
	const struct run_data *data;
	const struct run_networks *net;
	const struct objective *objective;
};

/* Which micro-batch of which step; the first of both is 0. */
struct batch_place { long step; int micro; };
/* These samples as the batch of a place: a pure function of it, so that it may be made ahead.  A batch's buffers are
 * reused. */
void batch_make(const struct batch_source *from, const struct course *c, const struct batch_place *at,
		const struct order_batch *o, struct batch *b);
/* A batch of one sample without random draws: its mean as latent, its first caption.  The caller fills in noisy,
 * target, timestep and weight. */
void batch_make_still(const struct batch_source *from, uint32_t sample, struct batch *b);
/* A batch of zeros of this shape, to measure a step. */
void batch_make_blank(const struct batch_source *from, const struct batch_shape *s, struct batch *b);
void batch_free(struct batch *b);

/* Runs a step of each shape on a dry tape, and sets the bytes of its activations. */
void batch_measure(const struct batch_source *from, struct batch_shape *shapes, size_t count);
/* Runs a step of the optimizer whose batches, so many leaves, all have this shape, on the counting backend, on which
 * networks and course were made. */
void batch_count(const struct batch_source *from, const struct batch_shape *shape, uint32_t leaves, struct course *c);

#endif
