/*
 * ema.h - the exponential moving average of the parameters.
 *
 * Owns the averages on the device.  Must not know when they are used.
 */
#ifndef OPTIMIZE_EMA_H
#define OPTIMIZE_EMA_H

#include "optimizer.h"

struct ema {
	float **value;                  /* of each parameter; NULL: no average is kept */
	struct trained *table;           /* of averages and parameters */
	const struct optimizer *optimizer;
	double decay;
};

/* decay 0: no average is kept, and the other functions do nothing.  The average begins with today's parameters. */
int ema_init(struct ema *m, const struct optimizer *o, double decay, struct error *e) MUST_CHECK;
void ema_free(struct ema *m);
void ema_update(struct ema *m, long updates);   /* after update number `updates` (from 1); early ones weigh more */
void ema_swap(struct ema *m);                   /* exchanges parameters and averages, until the next swap */

#endif
