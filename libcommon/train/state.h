/*
 * state.h - everything that a run needs to go on bit for bit, in one file.
 *
 * Tensors "param.NAME", "slot0.NAME", "slot1.NAME" (F32) and "steps" (I64, updates of each parameter); metadata "format", "step",
 * "identity", "config", sealed by a SHA-256 over all of it.  Draws need no saving: they are functions of (seed, step).
 */
#ifndef TRAIN_STATE_H
#define TRAIN_STATE_H

#include "optimizer.h"

#define STATE_FORMAT "lora-state-1"

/* identity: text that must be equal for a resume to be the same run ("seed=42 rank=16 ..."). */
int state_save(const char *path, const struct optimizer *o, long step, const char *identity, const char *config, struct error *e) MUST_CHECK;
/* Verifies the whole file before it touches anything.  Another identity is EXIT_USAGE, naming the first difference. */
int state_load(const char *path, struct optimizer *o, long *step, const char *identity, struct error *e) MUST_CHECK;

/* "FOLDER/NAME-step00000123-state.safetensors", malloced */
char *state_path(const char *folder, const char *name, long step);
/* Newest first; count returned, paths malloced. */
size_t state_list(const char *folder, const char *name, char ***paths);
/* Remove all but the newest `keep`. */
void state_prune(const char *folder, const char *name, int keep);

#endif
