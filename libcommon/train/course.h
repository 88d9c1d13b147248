/*
 * course.h - what is learnt and how fast: the objective, the schedule, the optimizer with its averages, and how far it has come.
 *
 * Must not know data, networks or files.
 */
#ifndef TRAIN_COURSE_H
#define TRAIN_COURSE_H

#include "../optimize/ema.h"
#include "../optimize/lr_schedule.h"
#include "../optimize/optimizer.h"
#include "objective.h"
#include "settings/settings.h"

struct course {
	struct train_settings *s;
	uint64_t seed;
	long total, done;               /* optimizer steps: of the run, 0 where it is not known; behind us */
	struct objective objective;
	struct lr_schedule lr;
	struct optimizer optimizer;
	struct ema ema;
	bool averaged;                  /* averages are in the place of the weights in training */
	int nonfinite;                  /* steps in a row */
	bool looks_ahead;               /* what is said now will be said again */
};

int course_read_seed(struct course *c, struct error *e) MUST_CHECK;
/* schedule.c: the run's length and its learning rate.  per_epoch: steps; 0: not known. */
int course_set_length(struct course *c, long per_epoch, struct error *e) MUST_CHECK;
/* The weights that are saved, painted and validated, in the place of those in training: averages, if any are kept.  To be ended even
 * after a failure; ending what never began does nothing. */
int course_show_average(struct course *c, struct error *e) MUST_CHECK;
void course_end_average(struct course *c);
void course_free(struct course *c);

#endif
