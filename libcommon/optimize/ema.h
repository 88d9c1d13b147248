/*
 * ema.h - the exponential moving average of the parameters.
 *
 * Owns the averages on the device.  Must not know when it is used.
 */
#ifndef OPTIMIZE_EMA_H
#define OPTIMIZE_EMA_H

#include "optimizer.h"

struct ema {
	float **value;                  /* of each parameter; NULL: no average is kept */
	const struct optimizer *optimizer;
	double decay;
};

/* decay 0: none is kept, and the rest does nothing.  Begins with the parameters as they are. */
int ema_init(struct ema *m, const struct optimizer *o, double decay, struct error *e) MUST_CHECK;
void ema_free(struct ema *m);
void ema_update(struct ema *m, long updates);   /* after update number `updates` (from 1); early ones weigh more */
void ema_swap(struct ema *m);                   /* networks see the averages until the next swap */

#endif
