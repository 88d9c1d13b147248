/*
 * loss_mean.h - the mean loss as sd-scripts shows it: over the last batches, at most as many as an epoch has.
 *
 * A resumed run begins anew, as sd-scripts does.
 */
#ifndef TRAIN_LOG_LOSS_MEAN_H
#define TRAIN_LOG_LOSS_MEAN_H

#include <stddef.h>

struct loss_mean {
	double *loss, total;    /* a ring of the last batches */
	size_t size, count, at;
};

void loss_mean_begin(struct loss_mean *m, size_t batches_per_epoch);
void loss_mean_add(struct loss_mean *m, double loss);           /* one that is not finite is left out */
double loss_mean(const struct loss_mean *m);                    /* NaN: nothing yet */
void loss_mean_free(struct loss_mean *m);

#endif
