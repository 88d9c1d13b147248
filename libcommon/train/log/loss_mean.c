/* A ring of an epoch's losses and their sum. */
#include <math.h>
#include <stdlib.h>
#include "../../base/memory.h"
#include "loss_mean.h"

void loss_mean_begin(struct loss_mean *m, size_t batches_per_epoch)
{
	*m = (struct loss_mean){ .size = batches_per_epoch ? batches_per_epoch : 1 };
	m->loss = xcalloc(m->size, sizeof(*m->loss));
}

void loss_mean_add(struct loss_mean *m, double loss)
{
	if (!isfinite(loss))
		return;
	m->total += loss - m->loss[m->at];
	m->loss[m->at] = loss;
	m->at = (m->at + 1) % m->size;
	m->count += m->count < m->size;
}

double loss_mean(const struct loss_mean *m)
{
	return m->count ? m->total / m->count : NAN;
}

void loss_mean_free(struct loss_mean *m)
{
	free(m->loss);
	*m = (struct loss_mean){ 0 };
}
