/*
 * optimizer.h - parameters, their gradients' norm, and the optimizers that move them.
 *
 * Owns the optimizers' states (what a checkpoint must carry), names and arguments.  One file and one row an optimizer.  Must not know
 * networks or files.
 */
#ifndef OPTIMIZE_OPTIMIZER_H
#define OPTIMIZE_OPTIMIZER_H

#include "../adapter/adapter.h"

enum { OPTIMIZER_SLOTS = 4, OPTIMIZER_SCALARS = 4 };    /* most state tensors of a parameter; most numbers of the whole */

/* Part of a parameter's state, on the device.  count 0: not there.  U8 is padded to whole floats in memory. */
struct slot { void *data; enum dtype dtype; size_t count; };

struct parameter {
	struct tensor *tensor;          /* HOME_OWNER; has_grad says whether a gradient arrived in this step */
	char *name;                     /* "lora_unet_....lora_down.weight" */
	size_t count;
	struct factored_shape shape;    /* PyTorch's last two sides are rows and cols */
	double lr;                      /* its group's base learning rate */
	struct slot slot[OPTIMIZER_SLOTS];      /* m and v of AdamW */
	long steps;                     /* updates so far; torch counts per parameter, and so do we */
	double moved;                   /* 2-norm of the last update */
};

/* Which fields count is said by an optimizer's table of arguments. */
struct optimizer_settings {
	const char *name;               /* "AdamW" */
	double beta1, beta2, eps, eps2, decay;  /* Adafactor: beta1 below 0 is none; eps2 is the least scale of a parameter */
	double beta3;                   /* Prodigy: below 0 is sqrt(beta2) */
	double d0, d_coef, growth_rate; /* Prodigy, D-Adaptation */
	double clip_threshold, decay_rate;      /* Adafactor */
	double warmup_steps, weight_power, lr_power;    /* schedule-free */
	bool decouple, bias_correction, safeguard_warmup, scale_parameter, relative_step, warmup_init;
};

struct optimizer {
	struct parameter *parameter;
	size_t count;
	struct optimizer_settings settings;
	double scalar[OPTIMIZER_SCALARS];       /* state of the whole: Prodigy's d and its sums */
	double now[2];                  /* of the step under way, from begin() to move() */
	float *before, *scratch;        /* room for the largest parameter: as it was before its update; for the optimizer */
	float *maps;                    /* AdamW8bit's two maps */
	double *sums, *read;            /* a sum a parameter and one more: on the device, and read back */
	float **kept;                   /* the weights in training while the averaged ones are in their place */
	const struct backend *be;
	struct device *device;
};

/* ---- names and arguments ---- */
/* As the table spells it: case does not count, as in kohya, and a few names stand for another, which is said.  NULL: not known. */
const char *optimizer_find(const char *name);
const char *optimizer_names(void);              /* for messages: "AdamW, AdamW8bit, ..." */
void optimizer_defaults(const char *name, struct optimizer_settings *s);        /* the Python library's; name must be known */
/* "weight_decay=0.01" into s; one that this optimizer does not take is refused with the list of those it does. */
int optimizer_argument(struct optimizer_settings *s, const char *item, struct error *e) MUST_CHECK;
bool optimizer_averages(const struct optimizer_settings *s);     /* optimizer_average() gives other weights than those in training */
/* Notes on settings that do not do what they seem to, given the learning rate and the schedule's name; mends what sd-scripts mends. */
void optimizer_advise(struct optimizer_settings *s, double lr, const char *schedule);
void optimizer_explain_lr(const struct optimizer_settings *s);  /* a note on what optimizer_lr() tells, where it is not all */
/* "torch.optim.adamw.AdamW(betas=(0.9, 0.999),eps=1e-08,weight_decay=0.01)", malloced */
char *optimizer_text(const struct optimizer_settings *s);
/* What stands for the learning rate in update `step` (from 1): lr * multiplier unless the optimizer sets its own. */
double optimizer_lr(const struct optimizer_settings *s, double lr, double multiplier, long step);

/* ---- the run's ---- */
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

/* Put the weights that are to be saved, sampled or validated in the place of those in training, and back, bit for bit.  Without an
 * average they are the same, and nothing happens. */
int optimizer_average(struct optimizer *o, struct error *e) MUST_CHECK;
void optimizer_resume_training(struct optimizer *o);

int optimizer_scalars(const struct optimizer *o);       /* how many of scalar[] the state holds */
double optimizer_d(const struct optimizer *o);          /* the step size that Prodigy and D-Adaptation found; 0: another optimizer */

#endif
