/* internal.h - what the files of a run share. */
#ifndef TRAIN_INTERNAL_H
#define TRAIN_INTERNAL_H

#include "keeper.h"

struct run {
	struct train_settings *s;
	const struct tool *tool;
	struct run_data data;
	struct run_networks net;
	struct course course;
	struct witness witness;
	struct keeper keeper;
};

void run_begin(struct run *r, struct train_settings *s, const struct tool *tool);
void run_free(struct run *r);

/* run_setup.c: what the settings alone can say; data and model; device, networks, memory */
int run_settings(struct run *r, struct error *e) MUST_CHECK;
int run_prepare(struct run *r, const char *const *latents, size_t count, struct error *e) MUST_CHECK;
size_t run_limit(const struct run *r);                  /* of device memory, as far as settings and device tell; 0: none */
int run_settle(struct run *r, struct error *e) MUST_CHECK;      /* how it is made to fit; EXIT_MEMORY where it cannot be */
int run_load(struct run *r, struct error *e) MUST_CHECK;        /* all but the arena */
int run_setup(struct run *r, struct error *e) MUST_CHECK;       /* settle, load, arena */

/* run_check.c: --plan and --check, which train nothing; what cannot fit is refused before the latents are read, where they are files */
int run_show_plan(struct run *r, const char *const *latents, size_t count, struct error *e) MUST_CHECK;
int run_check(struct run *r, const char *const *latents, size_t count, struct error *e) MUST_CHECK;
int run_look_ahead(const struct run *r, const char *const *latents, size_t count, struct error *e) MUST_CHECK;

#endif
