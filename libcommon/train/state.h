/*
 * state.h - everything that a run needs to go on bit for bit, in one file.
 *
 * Tensors "param.NAME", "slot0.NAME", "slot1.NAME", ... (the optimizer's: F32 or U8), with an average "ema.NAME" (F32), "steps" (I64,
 * updates of each parameter), "curves" (F64, what the log smooths) and, if the optimizer has any, "scalars" (F64); metadata "format", "step", "identity", "config", sealed by a SHA-256 over all of it.  Draws need
 * no saving: they are functions of (seed, step).
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

/* identity: text that must be equal for a resume to be the same run ("seed=42 rank=16 ..."). */
int state_save(const char *path, const struct optimizer *o, const struct state_more *more, long step, const char *identity, const char *config,
	       struct error *e) MUST_CHECK;
/* Verifies the whole file before it touches anything.  Another identity is EXIT_USAGE, naming the first difference; NULL: any is right. */
int state_load(const char *path, struct optimizer *o, const struct state_more *more, long *step, const char *identity,
	       struct error *e) MUST_CHECK;

/* "FOLDER/NAME-step00000123-state.safetensors", malloced */
char *state_path(const char *folder, const char *name, long step);
/* Newest first; count returned, paths malloced. */
size_t state_list(const char *folder, const char *name, char ***paths);
/* Steps whose files are known to be damaged: they are no reason to remove others. */
struct step_set { long *step; size_t count, capacity; };
void step_set_add(struct step_set *s, long step);
void step_set_drop(struct step_set *s, long step);      /* nothing where it is not in it */

/* Of the files NAME-stepNNNNNNNN with this suffix, none of a step after `now`: remove all but the newest `keep` (0: any number), where those
 * of `damaged` (NULL: none) do not count, and those of steps before `oldest`. */
#define STATE_SUFFIX "-state.safetensors"
#define ADAPTER_SUFFIX ".safetensors"
void steps_prune(const char *folder, const char *name, const char *suffix, long now, long keep, long oldest, const struct step_set *damaged);
long step_of_file(const char *path, const char *suffix);  /* of such a file */

#endif
