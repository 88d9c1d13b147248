/*
 * run.h - a whole training run: latent tars in, adapters, states and JSON lines out.
 */
#ifndef TRAIN_RUN_H
#define TRAIN_RUN_H

#include "settings/settings.h"

/* Returns an exit code.  *e is filled when it is neither 0 nor EXIT_SAVED.  tool is for printing the configuration into files. */
int train_run(struct train_settings *s, const struct tool *tool, const char *const *latents, size_t count, struct error *e);

#endif
