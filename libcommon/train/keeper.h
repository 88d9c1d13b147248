/*
 * keeper.h - the output folder of a run: its lock, the adapters and states in it, and which run these belong to.
 *
 * Saves data from networks, course and witness, and reads it back.
 */
#ifndef TRAIN_KEEPER_H
#define TRAIN_KEEPER_H

#include "saved.h"
#include "settings/mark.h"
#include "state.h"
#include "witness.h"

enum run_file { RUN_ADAPTER, RUN_STATE, RUN_FILES };

struct keeper {
	struct train_settings *s;
	const struct tool *tool;
	struct run_data *data;
	struct run_networks *net;
	struct course *course;
	struct witness *witness;
	int lock;                       /* descriptor of the locked file in the output folder; -1: none */
	char *identity, *config;        /* what a state must share to be resumed from; all settings as TOML */
	char *settings, mark[MARK_SIZE];        /* the settings that make the run; the run's mark (settings/mark.h) */
	char *resumed;                  /* the state that the run goes on from */
	long resumed_step;
	struct step_set damaged;        /* newer states, which are damaged */
	double file_bytes[RUN_FILES];   /* the rough size of one */
	double all_bytes, free_bytes;   /* of all that will be saved; free on the disk */
	unsigned owed[RUN_FILES];       /* enum saved_by: reasons of saves that failed and will be tried again */
	double saved_at;                /* the clock at the last state */
	bool saved;                     /* an adapter or a state, by this program */
	int nonfinite_kept;             /* batches of steps that were not finite, written out */
};

/* identity.c: identity, config, settings, mark */
void keeper_set_identity(struct keeper *k);
char *settings_of_run(const struct tool *tool, const char *config);     /* those of config that make a run, malloced */

/* claims.c: claims the outputs (EXIT_USAGE where one is an input, or cannot be a file): the adapter as soon as its name
 * is known, the rest when it is known which steps come and what was resumed from */
int keeper_claim_adapter(const struct keeper *k, struct error *e) MUST_CHECK;
int keeper_claim_outputs(const struct keeper *k, struct error *e) MUST_CHECK;

/* save_rules.c: what the settings say of saving */
unsigned keeper_due(const struct keeper *k, long step); /* enum saved_by: the reasons to save at a step */
struct rotation adapter_rotation(const struct train_settings *s);
struct rotation state_rotation(const struct train_settings *s);
char *keeper_adapter_path(const struct keeper *k);      /* of the last adapter, malloced */

/* resume.c: the output folder at the start */
int keeper_lock(struct keeper *k, struct error *e) MUST_CHECK;
int keeper_resume(struct keeper *k, struct error *e) MUST_CHECK;
/* Where the run resumed at its end: *finished, if the last adapter exists too.  Beyond its end: EXIT_USAGE. */
int keeper_check_end(struct keeper *k, bool *finished, struct error *e) MUST_CHECK;
void keeper_tell_others(const struct keeper *k);        /* notes of other runs' files that this run will replace */

/* room.c: compares what will be written with the free space.  No space for the adapter is EXIT_IO; no space for the
 * rest is EXIT_IO if strict, else a warning. */
int keeper_check_room(struct keeper *k, bool strict, struct error *e) MUST_CHECK;
/* Would writing this file now leave space for the last adapter?  EXIT_IO: no. */
int keeper_leave_room(const struct keeper *k, enum run_file file, struct error *e) MUST_CHECK;

/* save_when.c: saves during the run, when it is due (no space costs a warning); when stopped; and at the end, the
 * adapter first */
int keeper_save_on_the_way(struct keeper *k, struct error *e) MUST_CHECK;
int keeper_save_stopped(struct keeper *k, struct error *e) MUST_CHECK;
int keeper_save_last(struct keeper *k, struct error *e) MUST_CHECK;

/* save.c; by: enum saved_by */
int keeper_save_adapter(struct keeper *k, unsigned by, struct error *e) MUST_CHECK;
int keeper_save_state(struct keeper *k, unsigned by, struct error *e) MUST_CHECK;

/* nonfinite.c: writes out the samples of a step that was not finite; the step is the next one (course.done + 1) */
void keeper_keep_nonfinite(struct keeper *k, const struct order_place *place);

void keeper_free(struct keeper *k);

#endif
