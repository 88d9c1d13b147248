/* train.h - what train.c (the steps) and train_batch.c (their inputs) share. */
#ifndef GOLDEN_TRAIN_H
#define GOLDEN_TRAIN_H

#include "../../libcommon/optimize/lr_schedule.h"
#include "../../libcommon/optimize/optimizer.h"
#include "../../libcommon/train/step.h"
#include "subject.h"

/* The micro-batch whose tensors are called PREFIX.latent and so on. */
void read_batch(const struct subject *s, const struct safetensors *f, const char *prefix, struct batch *b);
void free_batch(struct batch *b);

/* Metadata of a training file. */
struct recipe {
	int steps, accumulate;
	double max_grad_norm;
	struct optimizer_settings optimizer;
	double *rate;                   /* [steps] */
	struct lr_schedule schedule;
	double base;                    /* rate = base * lr_multiplier(&schedule, k) */
	char name[32];                  /* of the schedule */
};
void read_recipe(const struct safetensors *f, struct recipe *r);
void free_recipe(struct recipe *r);

/* initial.*: the networks with the adapter that hangs on them, on the first captions and the small inputs. */
void check_initial(struct subject *s, const char *label, const struct safetensors *f);

#endif
