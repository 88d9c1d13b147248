/*
 * state.h - a state: everything that a run needs to go on bit for bit, in one file.
 *
 * Tensors "param.NAME", "slot0.NAME", "slot1.NAME", ... (the optimizer's: F32 or U8), with an average "ema.NAME" (F32),
 * "steps" (I64, updates of each parameter), "curves" (F64, what the log smooths) and, if the optimizer has any,
 * "scalars" (F64); metadata "format", "step", "identity", "settings", "config" and those of saved.h, sealed by a
 * SHA-256 over all of it.  Draws need no saving: they are functions of (seed, step).
 */
#ifndef TRAIN_STATE_H
#define TRAIN_STATE_H

#include "../optimize/optimizer.h"

#define STATE_FORMAT "lora-state-1"

/* What a state carries besides the optimizer. */
struct state_more {
	float *const *ema;              /* the average of each parameter, on the device; NULL: none is kept */
	double *curves; size_t n_curves;
};

/* What a state tells of its run. */
struct state_facts {
	long step;
	unsigned by;                    /* enum saved_by */
	const char *identity;           /* what a run must share to go on from it ("seed=42 network_dim=16 ...") */
	const char *settings;           /* the settings that make it the same run (settings/mark.h) */
	const char *config, *run;       /* all settings; the run's mark */
};
int state_save(const char *path, const struct optimizer *o, const struct state_more *more,
	       const struct state_facts *facts, struct error *e)
	MUST_CHECK;
/* What a state must have to be loaded; NULL: anything.  A difference is EXIT_USAGE and named. */
struct state_like { const char *identity, *settings; };
/* Verifies the whole file before it touches anything. */
int state_load(const char *path, struct optimizer *o, const struct state_more *more, const struct state_like *like,
	       long *step, struct error *e) MUST_CHECK;

/* Rank 0 alone saves and loads; meanwhile each other rank gives or takes the slots that it owns (call.h). */
void state_give(const struct optimizer *o);
void state_take(const struct optimizer *o);
/* The rest of what the other ranks need of a state goes from rank 0 to all: weights, counts, scalars. */
void state_spread(struct optimizer *o);

#endif
