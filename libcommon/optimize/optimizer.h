/*
 * optimizer.h - parameters, the norm of their gradients, and the optimizers that update them.
 *
 * Owns the optimizers' state (what a checkpoint must carry), names and arguments.  An optimizer is one file with one
 * row (internal.h).  Its state is slots, tensors of one parameter, and scalars, numbers of all parameters together.
 * Ranks share its work: each updates the parameters that it owns (slices.h) and has slots for these alone.  Must not
 * know networks or files.
 */
#ifndef OPTIMIZE_OPTIMIZER_H
#define OPTIMIZE_OPTIMIZER_H

#include "../base/names.h"
#include "../adapter/adapter.h"
#include "../ranks/ranks.h"

/* The most tensors of state a parameter, and numbers of state an optimizer. */
enum { OPTIMIZER_SLOTS = 4, OPTIMIZER_SCALARS = 4 };
/* Floats in which sums of gradients arrive from other devices, a part of them after another. */
enum { PARCEL_FLOATS = 8 << 20 };

/* A tensor of a parameter's state, on the device.  count 0: there is none.  U8 is padded to whole floats in memory.
 * data NULL: another rank has it. */
struct slot { void *data; enum dtype dtype; size_t count; };

struct parameter {
	struct tensor *tensor;          /* HOME_OWNER; has_grad says whether a gradient arrived in this step */
	char *name;                     /* "lora_unet_....lora_down.weight" */
	size_t count, at;               /* at: its place in the vector of all parameters */
	int owner;                      /* the rank that updates it */
	struct factored_shape shape;    /* PyTorch's last two sides are rows and cols */
	double lr;                      /* its group's base learning rate */
	bool hastened;                  /* LoRA+ has it in a group apart */
	struct slot slot[OPTIMIZER_SLOTS];      /* m and v of AdamW */
	long steps;                     /* updates so far; torch counts per parameter, and so do we */
	double moved;                   /* 2-norm of the last update */
};

/* The fields that an optimizer reads are in its table of arguments. */
struct optimizer_settings {
	const char *name;               /* "AdamW" */
	/* Adafactor: beta1 below 0 means no first moment; eps2 is the least scale of a parameter */
	double beta1, beta2, eps, eps2, decay;
	double beta3;                   /* Prodigy: below 0 is sqrt(beta2) */
	double d0, d_coef, growth_rate; /* Prodigy, D-Adaptation */
	double clip_threshold, decay_rate;      /* Adafactor */
	double warmup_steps, weight_power, lr_power;    /* schedule-free */
	bool decouple, bias_correction, safeguard_warmup, scale_parameter, relative_step, warmup_init;
};

struct optimizer {
	struct ranks ranks;             /* who share its work */
	struct parameter *parameter;
	size_t count, floats;           /* floats: of all parameters */
	struct optimizer_settings settings;
	double scalar[OPTIMIZER_SCALARS];       /* state of all parameters together: Prodigy's d and its sums */
	double now[2];                  /* numbers of the current step, from begin() to move() */
	/* a step's parameters whose gradient arrived and which this rank owns, `moving` of them, and as the backend
	 * takes them */
	struct parameter **arrived;
	struct trained *table;
	int moving;
	float *room;                    /* for the largest parameter */
	float *maps;                    /* AdamW8bit's two maps */
	/* on the device, one or two of each row of the table; read back; of each parameter, from its owner */
	double *sums, *row_sums, *read;
	/* host memory: all weights on their way between ranks; NULL: one rank, or devices that are joined and weights
	 * of which no average is made */
	float *staged;
	float *parcels;                 /* [PARCEL_FLOATS], where the ranks' devices are joined; else NULL */
	float **kept;                   /* the weights in training while the averaged ones are in their place */
	const struct backend *be;
	struct device *device;
};

/* ---- names and arguments ---- */
/* The name as the table spells it.  Case does not count, as in kohya; a few names stand for another, with a note.
 * NULL: not known. */
const char *optimizer_find(const char *name);
struct names optimizer_names(void);             /* for messages: "AdamW, AdamW8bit, ..." */
const char *optimizer_choices(void);            /* "AdamW|AdamW8bit|..." for an option table */
/* The defaults of the Python library; name must be known. */
void optimizer_defaults(const char *name, struct optimizer_settings *s);
/* Reads "weight_decay=0.01" into s.  A name that this optimizer does not take is refused with a list of its own. */
int optimizer_argument(struct optimizer_settings *s, const char *item, struct error *e) MUST_CHECK;
/* Does optimizer_average() give other weights than those in training? */
bool optimizer_averages(const struct optimizer_settings *s);
/* Prints notes on settings that do not do what they seem to, given the learning rate and the schedule's name; corrects
 * what sd-scripts corrects. */
void optimizer_advise(struct optimizer_settings *s, double lr, const char *schedule);
/* Prints a note where optimizer_lr() is not the whole story. */
void optimizer_explain_lr(const struct optimizer_settings *s);
/* "torch.optim.adamw.AdamW(betas=(0.9, 0.999),eps=1e-08,weight_decay=0.01)", malloced */
char *optimizer_text(const struct optimizer_settings *s);
/* The learning rate of update `step` (from 1): lr * multiplier, unless the optimizer sets its own. */
double optimizer_lr(const struct optimizer_settings *s, double lr, double multiplier, long step);

/* ---- an optimizer at work ---- */
/* One parameter for each part of every module that is trained; slots are zero.
 * rate tells a part's base learning rate. */
typedef double rate_fn(const void *arg, const struct adapter_module *m, int part);
int optimizer_init(struct optimizer *o, struct adapter *a, const struct optimizer_settings *s,
		   const struct ranks *ranks, rate_fn *rate, const void *arg, struct error *e) MUST_CHECK;
void optimizer_free(struct optimizer *o);
static inline bool optimizer_owns(const struct optimizer *o, const struct parameter *p)
{
	return p->owner == o->ranks.rank;
}
/* Rank r owns the numbers at[r] up to at[r + 1] of the vector of all parameters, malloced. */
size_t *optimizer_slices(const struct optimizer *o);
size_t optimizer_state_bytes(const struct optimizer *o, int rank);      /* of the slots that a rank has */

/* All ranks call the next three.  2-norm over all gradients that arrived: sums of each parameter, in double, are added
 * in parameter order. */
double optimizer_grad_norm(struct optimizer *o);
/* min(1, max / (norm + 1e-6)); max 0: no clipping */
float clip_scale(double norm, double max);
/* Updates every parameter whose gradient arrived, at its lr * multiplier, then clears the gradients; what other ranks
 * own is updated there.  Parameters without gradient are not touched, weight decay included: SDXL's UNet reads the
 * first text encoder before its last layer, whose adapters therefore never get one. */
void optimizer_step(struct optimizer *o, double multiplier, float grad_scale);
void optimizer_gather_weights(struct optimizer *o);     /* each rank gets those that others own */
void optimizer_forget(struct optimizer *o);     /* clears the gradients, without a step */

/* Puts the weights that are to be saved, sampled or validated in the place of those in training, after a copy of these
 * was made; and puts those in training back, bit for bit.  Does nothing where the optimizer keeps no average. */
int optimizer_keep(struct optimizer *o, struct error *e) MUST_CHECK;
void optimizer_average(struct optimizer *o);            /* the other ranks must give what they own, meanwhile */
void optimizer_give_average(struct optimizer *o);
void optimizer_resume_training(struct optimizer *o);

int optimizer_scalars(const struct optimizer *o);       /* how many of scalar[] the state holds */
/* The step size that Prodigy and D-Adaptation estimated; 0 with other optimizers. */
double optimizer_d(const struct optimizer *o);

#endif
