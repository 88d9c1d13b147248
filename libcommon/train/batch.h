/*
 * batch.h - assembles what a step reads: latents with noise, targets, timesteps, text, masks.
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

/* These samples as micro-batch i of the step that comes next.  A batch's buffers are reused. */
void batch_make(const struct batch_source *from, const struct course *c, const struct order_batch *o, int micro,
		struct batch *b);
/* One sample without any draw: its mean as latent, its first caption;
 * noisy, target, timestep and weight are the caller's. */
void batch_make_still(const struct batch_source *from, uint32_t sample, struct batch *b);
/* Zeros of such a batch's shape, to learn what a step takes. */
void batch_make_blank(const struct batch_source *from, const struct batch_shape *s, struct batch *b);
void batch_free(struct batch *b);

/* A step of each shape on a dry tape: its activations are the arena's exact size. */
void batch_measure(const struct batch_source *from, struct batch_shape *shapes, size_t count);

#endif
