/*
 * lr_schedule.h - the learning rate over the run, as a multiple of the base rate.
 * A schedule is a row in lr_schedule.c, with kohya's names and formulas (transformers' and diffusers' LambdaLR
 * factories).  Must not know optimizers.
 */
#ifndef OPTIMIZE_LR_SCHEDULE_H
#define OPTIMIZE_LR_SCHEDULE_H

#include <stdbool.h>

struct lr_schedule {
	const char *name;               /* "cosine" */
	long warmup, total;             /* optimizer steps */
	double cycles;                  /* cosine_with_restarts: default 1 */
	double power;                   /* polynomial: default 1 */
	double end;                     /* polynomial: last rate over base rate (1e-7 / base) */
	double min_ratio;               /* cosine_with_min_lr, warmup_stable_decay */
	long decay, timescale;          /* warmup_stable_decay; inverse_sqrt (0: the warm-up's length, or 10000) */
};

/* The multiplier of update k (from 0).  name must be known.  With a warm-up update 0 has multiplier 0: the optimizer's
 * state moves, the weights do not. */
double lr_multiplier(const struct lr_schedule *s, long k);
bool lr_schedule_known(const char *name);
const char *lr_schedule_names(void);    /* "constant|linear|..." for an option table */

#endif
