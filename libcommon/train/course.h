/*
 * course.h - the course of a run: the objective, the learning-rate schedule, the optimizer with its averages, and the
 * number of steps done.
 *
 * Must not know data, networks or files.
 */
#ifndef TRAIN_COURSE_H
#define TRAIN_COURSE_H

#include "../optimize/ema.h"
#include "../optimize/leaf_sums.h"
#include "../optimize/lr_schedule.h"
#include "../optimize/optimizer.h"
#include "objective.h"
#include "settings/settings.h"

struct course {
	struct train_settings *s;
	const struct ranks *ranks;      /* who share the optimizer's work; the average of weights is rank 0's */
	uint64_t seed;
	long total, done;               /* optimizer steps: of the run (0: not known yet); done so far */
	struct objective objective;
	struct lr_schedule lr;
	struct optimizer optimizer;
	struct leaf_sums sums;
	struct ema ema;
	bool averaged;                  /* averages are in the place of the weights in training */
	int nonfinite;                  /* steps in a row that were not finite */
	bool looks_ahead;               /* only a check before the run: its notes will be repeated */
};

int course_read_seed(struct course *c, struct error *e) MUST_CHECK;
/* schedule.c: the run's length and its learning rate.  per_epoch: steps; 0: not known. */
int course_set_length(struct course *c, long per_epoch, struct error *e) MUST_CHECK;
int course_print_lr(const struct course *c, struct error *e) MUST_CHECK;        /* --print-lr: JSON lines */
/* Puts the weights that are saved, sampled and validated (averages, if any are kept) in the place of those in training,
 * until course_end_average(), which must be called even after a failure and does nothing where nothing was begun. */
int course_show_average(struct course *c, struct error *e) MUST_CHECK;
void course_end_average(struct course *c);
void course_free(struct course *c);

#endif
