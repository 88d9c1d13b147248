/*
 * lint_batches.h - how an epoch is divided into steps.  Private to lora-prep's --lint.
 *
 * Counts as train/order.h does: a batch holds samples of one bucket and one batch size, and the last may be smaller.
 */
#ifndef DATA_LINT_BATCHES_H
#define DATA_LINT_BATCHES_H

#include "lint_finding.h"

struct batches;
struct batches *batches_new(long batch_size);
void batches_free(struct batches *b);                           /* accepts NULL */
/* batch_size 0: the one of batches_new(). */
void batches_add(struct batches *b, const int bucket[2], long repeats, long batch_size);
int batches_report(struct batches *b, struct findings *f) MUST_CHECK;

#endif
