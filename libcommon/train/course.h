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

struct course {
	uint64_t seed;
	long total, done;               /* optimizer steps: of the run; behind us */
	struct objective objective;
	struct lr_schedule lr;
	struct optimizer optimizer;
	struct ema ema;
	bool averaged;                  /* averages are in the place of the weights in training */
	int nonfinite;                  /* steps in a row */
};

#endif
