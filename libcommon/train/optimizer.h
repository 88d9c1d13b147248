/*
 * optimizer.h - parameters, their gradients' norm, and the optimizers that move them.
 *
 * One row an optimizer in optimizer.c.  Owns the optimizer's state (what a checkpoint must carry).  Must not know networks or files.
 */
#ifndef TRAIN_OPTIMIZER_H
#define TRAIN_OPTIMIZER_H

#include "../lora/adapter.h"

#define OPTIMIZER_SLOTS 2               /* most state tensors a parameter has */

struct parameter {
	struct tensor *tensor;          /* HOME_OWNER; has_grad says whether a gradient arrived in this step */
	char *name;                     /* "lora_unet_....lora_down.weight" */
	size_t count;
	double lr;                      /* its group's base learning rate */
	float *slot[OPTIMIZER_SLOTS];   /* on the device: m and v of AdamW */
	long steps;                     /* updates so far; torch counts per parameter, and so do we */
	double moved;                   /* 2-norm of the last update */
};

struct optimizer_settings {
	const char *name;               /* "AdamW" */
	double beta1, beta2, eps, decay;
};

struct optimizer {
	struct parameter *parameter;
	size_t count;
	struct optimizer_settings settings;
	float *before;                  /* room for the largest parameter as it was before its update */
	const struct backend *be;
	struct device *device;
};

bool optimizer_known(const char *name);         /* case does not count, as in kohya */
const char *optimizer_names(void);              /* for messages: "AdamW" */

/* One parameter each for down and up of every module; slots are zero.  rate tells a module's base learning rate. */
typedef double rate_fn(const void *arg, const struct adapter_module *m);
int optimizer_init(struct optimizer *o, struct adapter *a, const struct optimizer_settings *s, rate_fn *rate, const void *arg,
		   struct error *e) MUST_CHECK;
void optimizer_free(struct optimizer *o);

/* 2-norm over all gradients that arrived, summed in double in parameter order. */
double optimizer_grad_norm(const struct optimizer *o);
/* min(1, max / (norm + 1e-6)); max 0: no clipping */
float clip_scale(double norm, double max);
/* Move every parameter whose gradient arrived by its lr * multiplier; the others are not touched, decay included.  Then forget the
 * gradients. */
void optimizer_step(struct optimizer *o, double multiplier, float grad_scale);
void optimizer_forget(struct optimizer *o);     /* the gradients, without a step */

#endif
