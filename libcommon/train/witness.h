/*
 * witness.h - what a run shows while it goes on: events, curves, progress on a terminal, sample pictures.
 */
#ifndef TRAIN_WITNESS_H
#define TRAIN_WITNESS_H

#include "../base/progress.h"
#include "log/events.h"
#include "log/loss_mean.h"
#include "log/page.h"

/* What the log smooths; a state carries them, so that a resumed run's log goes on as if nothing had happened.  0: nothing yet. */
enum { CURVE_LOSS, CURVE_BIN, CURVES = CURVE_BIN + LOSS_BINS };

struct witness {
	struct events events;
	double curves[CURVES];
	struct loss_mean mean;          /* for TensorBoard */
	struct progress *progress;
	struct run_samples *samples;    /* NULL: none are painted */
};

#endif
