/*
 * run.h - a whole training run: from latent tars to adapters, states and JSON lines.
 *
 * A run has five parts, each with its own header: data, networks, course (objective, schedule, optimizer), witness
 * (what it shows) and keeper (what it saves).
 */
#ifndef TRAIN_RUN_H
#define TRAIN_RUN_H

#include "keeper.h"
#include "plan/workload.h"
#include "share.h"

/* Returns an exit code.  *e is filled when it is neither 0 nor EXIT_SAVED.
 * tool is for printing the configuration into files. */
int train_run(struct train_settings *s, const struct tool *tool, const char *const *latents, size_t count,
	      struct error *e);

struct run {
	struct train_settings *s;
	const struct tool *tool;
	struct run_data data;
	struct run_networks net;
	struct course course;
	struct witness witness;
	struct keeper keeper;
	struct share share;
};

/* Saves and shows: one rank of several (share.h). */
static inline bool run_leads(const struct run *r) { return r->share.ranks.rank == 0; }

/* run_setup.c, in this order */
void run_begin(struct run *r, struct train_settings *s, const struct tool *tool);
int run_settings(struct run *r, struct error *e) MUST_CHECK;    /* checks that need the settings alone */
/* data and model's headers */
int run_prepare(struct run *r, const char *const *latents, size_t count, struct error *e) MUST_CHECK;
int run_load(struct run *r, struct error *e) MUST_CHECK;        /* all that a device holds, but the arena */
void run_free(struct run *r);

/* run_plan.c: makes a run fit into memory; EXIT_MEMORY where it cannot */
struct workload run_workload(const struct run *r);
int run_fit(struct run *r, struct error *e) MUST_CHECK;         /* after run_prepare() */
/* The same from the latents' headers, where they are files, before they are read. */
int run_refuse_early(const struct run *r, const char *const *latents, size_t count, struct error *e) MUST_CHECK;
/* --plan */
int run_show_plan(struct run *r, const char *const *latents, size_t count, struct error *e) MUST_CHECK;

/* run_check.c: --check */
int run_check(struct run *r, const char *const *latents, size_t count, struct error *e) MUST_CHECK;

/* run_step.c: one step of the optimizer; after a NaN or an infinity it updates nothing.  Two batches take turns: while
 * a device works on one, the host makes the other, of this step or the next. */
struct batches {
	struct batch of[2];
	int turn;                       /* which of them comes next */
	bool made;                      /* it is made already */
};
void run_step(struct run *r, struct batches *b, struct step_facts *f);

#endif
