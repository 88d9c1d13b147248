/*
 * plan.h - the memory of a run in numbers: by class, by shape of batch, and in all.
 *
 * Owns the memory that a device takes beyond what it is asked for.  Must not know how the numbers are found
 * (planner.c), nor the device itself.
 */
#ifndef TRAIN_PLAN_PLAN_H
#define TRAIN_PLAN_PLAN_H

#include "../../nn/dry.h"
#include "../fit.h"
#include "cards.h"
#include "ranks.h"

enum plan_class {
	PLAN_UNET, PLAN_TEXT, PLAN_BASE,        /* frozen: networks, adapters that belong to the base */
	PLAN_ADAPTER, PLAN_OPTIMIZER, PLAN_AVERAGE,
	/* of the largest batch, of validation, or of a sample picture with its networks, whichever is most */
	PLAN_ACTIVATIONS,
	PLAN_GRADIENTS,                         /* host memory of a run on the CPU: sums of gradients that wait, */
	PLAN_DATA,                              /* latents and text outputs, */
	PLAN_SAVING,                            /* and a copy of the adapter, or of all that a state holds */
	PLAN_WORKSPACE, PLAN_CONTEXT,           /* the backend's and the driver's, or the program's own */
	PLAN_ROUNDING,                          /* ends of pages and slabs */
	PLAN_CLASSES
};

/* The memory that a device takes for itself, and how it rounds allocations. */
struct plan_device {
	const char *name;
	struct dry_rules rules;
	size_t workspace, context;
	size_t kept_back;               /* of a limit that is said: left free, if a plan_way does */
	/* the program's own memory is the device's: scratch of products, or of a convolution; at least what a saved
	 * file takes, which other programs' readers are asked about */
	bool is_host;
	size_t saved;
	size_t (*products)(int rank, size_t turned, int threads);
	size_t (*convolution)(const struct weight *w, const struct conv_shape *s, int threads);
};
/* NULL: no such device (EXIT_USAGE).  Needs neither the device nor its backend. */
const struct plan_device *plan_device(const char *name, struct error *e) MUST_CHECK;

struct plan_batch { int width, height, n; size_t bytes; };      /* bucket in pixels; batch size; bytes of activations */

struct plan {
	const struct plan_device *device;
	struct plan_way way;
	size_t bytes[PLAN_CLASSES], peak;
	size_t limit;                   /* 0: none is known */
	struct plan_batch *batch;
	size_t batches, largest;
	size_t validation, pictures;    /* bytes of these instead of a batch's activations; 0: there are none */
	size_t blocks;                  /* blocks of a step that could be checkpointed */
	size_t host, sums;              /* in host memory: frozen weights; sums of gradients, weights between ranks */
	size_t state;                   /* what a file has of the optimizer, of all ranks */
	struct ranks_plan ranks;
	struct work work;               /* of a step on a card; plan_work() */
};

static inline bool plan_fits(const struct plan *p) { return !p->limit || p->peak <= p->limit; }
void plan_free(struct plan *p);

#endif
