/*
 * counting.h - the counting backend: the dry one (dry.h) that also counts what the CUDA backend would do for each call.
 *
 * Owns what cuda/ launches for an operation.  tests/cuda/budget compares the counts with those of cuda/ itself on the
 * stand-in, so that neither changes alone.  Must not know networks.
 */
#ifndef NN_COUNTING_H
#define NN_COUNTING_H

#include "../backend.h"
#include "work.h"

struct device *counting_device_new(const struct card_rates *r);         /* r NULL: no times.  Closed by the backend */
struct work counting_work(const struct device *d);                      /* since the last counting_begin() */
void counting_begin(struct device *d);

#endif
