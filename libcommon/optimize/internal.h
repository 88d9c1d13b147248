/*
 * internal.h - a row of the table of optimizers, which each optimizer's file fills in, and what the rows share.
 *
 * Private to optimize/.
 */
#ifndef OPTIMIZE_OPTIMIZER_INTERNAL_H
#define OPTIMIZE_OPTIMIZER_INTERNAL_H

#include "optimizer.h"

enum argument_type {
	ARGUMENT_NUMBER,
	ARGUMENT_FLAG,                  /* True, False */
	ARGUMENT_BETA,                  /* min to below 1, or None: -1 */
	ARGUMENT_PAIR,                  /* two numbers, this field and the next */
	ARGUMENT_BETAS,                 /* a pair, below 1 */
};

struct optimizer_argument {
	const char *name;               /* the Python library's */
	enum argument_type type;
	size_t offset;                  /* in struct optimizer_settings */
	double min, max;
};

#define BETAS(low) { "betas", ARGUMENT_BETAS, offsetof(struct optimizer_settings, beta1), low, 1 }
#define NUMBER(name, field, low, high) { name, ARGUMENT_NUMBER, offsetof(struct optimizer_settings, field), low, high }
#define FLAG(name, field) { name, ARGUMENT_FLAG, offsetof(struct optimizer_settings, field), 0, 1 }
#define BETA(name, field) { name, ARGUMENT_BETA, offsetof(struct optimizer_settings, field), 0, 1 }

struct optimizer_kind {
	const char *name, *python;      /* "AdamW"; "torch.optim.adamw.AdamW" */
	struct optimizer_settings defaults;
	const struct optimizer_argument *arguments;     /* ends with a name NULL */
	int scalars;
	/* the learning rate multiplies d = scalar[0]: it is about 1, and the same for all parameters */
	bool finds_d;
	bool own_schedule;              /* lr_scheduler is ignored */
	void (*set_slots)(const struct optimizer *o, struct parameter *p);      /* dtype and count of each */
	void (*set_maps)(float *maps);  /* NULL, or fills 2 * 256 */
	/* Called once a step, before any parameter is updated.  false: no parameter is updated.  NULL: nothing to do */
	bool (*begin)(struct optimizer *o, double multiplier, float grad_scale);
	/* updates all parameters of the table, whose steps count this update already; sums: the squares of what each
	 * moved by.  Gradients are as they came: grad_scale is what clipping multiplies them with */
	void (*move)(const struct optimizer *o, double multiplier, float grad_scale);
	void (*average)(const struct optimizer *o, const struct parameter *p);  /* NULL, or p's data to what is saved */
	/* NULL: lr * multiplier */
	double (*lr)(const struct optimizer_settings *s, double lr, double multiplier, long step);
};

extern const struct optimizer_kind optimizer_adamw, optimizer_adamw8bit, optimizer_lion, optimizer_adafactor,
	optimizer_prodigy, optimizer_dadapt, optimizer_schedulefree;
extern const struct optimizer_kind *const optimizer_kinds[];    /* ends with NULL */

const struct optimizer_kind *optimizer_kind(const char *name);  /* NULL: not known */
static inline struct slot slot_of_floats(size_t count) { return (struct slot){ NULL, DTYPE_F32, count }; }
/* A step for each row of the table, malloced. */
struct adamw_step *adamw_steps(const struct optimizer *o, double multiplier, float grad_scale);
/* Reads the table's sums back, one or two for each row, with one wait for the device; o->read then has those of all
 * parameters, each from its owner. */
void optimizer_read_sums(const struct optimizer *o, int each);
/* A tensor of the state takes over the weights of those parameters that take their first step. */
void optimizer_keep_first(const struct optimizer *o, int slot, long steps);
/* shared.c: an owner for each parameter; numbers of each, which its owner found, to all ranks. */
void optimizer_share_out(struct optimizer *o);
void optimizer_gather(const struct optimizer *o, void *of, size_t each);
/* Of which Prodigy and D-Adaptation estimate d: both sums of all parameters, in their order, each times its factor.
 * They are added to what is there. */
struct two_sums { double numerator, magnitude; };
void optimizer_add_up(const struct optimizer *o, double factor, struct two_sums *to);
/* The largest learning rate times multiplier, as the adaptive ones take it. */
double optimizer_common_lr(const struct optimizer *o, double multiplier);

#endif
