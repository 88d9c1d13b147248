/*
 * keeper.h - what a run keeps in its output folder: the lock, adapters and states, and which run they are of.
 *
 * Saves what it sees of data, networks, course and witness, and reads it back.
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
	char *identity, *config;        /* what a resume must have in common; the settings as TOML */
	char *settings, mark[MARK_SIZE];        /* of these what else makes the run; which run it is */
	char *resumed;                  /* the state that the run goes on from */
	long resumed_step;
	struct step_set damaged;        /* newer states that it could not go on from */
	double file_bytes[RUN_FILES];   /* about how large one is */
	double all_bytes, free_bytes;   /* all that will be saved; what is free for it */
	unsigned owed[RUN_FILES];       /* enum saved_by: why one should have been saved, where there was no space */
	double saved_at;                /* the clock at the last state */
	int nonfinite_kept;             /* batches of steps that were not finite, written out */
};

/* identity.c: identity, config, settings, mark */
void keeper_set_identity(struct keeper *k);
char *settings_of_run(const struct tool *tool, const char *config);     /* of such a text what makes a run, malloced */

/* claims.c: what is written into the output folder against what is read (EXIT_USAGE): the adapter, as soon as its name is known, and
 * the rest, once it is known which steps come and what was resumed from */
int keeper_claim_adapter(const struct keeper *k, struct error *e) MUST_CHECK;
int keeper_claim_outputs(const struct keeper *k, struct error *e) MUST_CHECK;

/* resume.c: what lies in the output folder */
int keeper_lock(struct keeper *k, struct error *e) MUST_CHECK;
int keeper_resume(struct keeper *k, struct error *e) MUST_CHECK;
char *keeper_adapter_path(const struct keeper *k);      /* of the last one, malloced */
/* Resumed at the end: *finished, if its adapter lies there too.  Behind the end: EXIT_USAGE. */
int keeper_check_end(struct keeper *k, bool *finished, struct error *e) MUST_CHECK;
void keeper_tell_others(const struct keeper *k);        /* files of other runs that this one will replace */

/* room.c: what will be written against the room for it.  Without the adapter's it is EXIT_IO; without room for the rest too if strict,
 * else that is said. */
int keeper_check_room(struct keeper *k, bool strict, struct error *e) MUST_CHECK;
/* Would there be room for the last adapter behind this file of now?  EXIT_IO: no. */
int keeper_leave_room(const struct keeper *k, enum run_file file, struct error *e) MUST_CHECK;

/* save_when.c: on the way, when it is due; when stopped; at the end, the adapter first.  What is on the way and finds no space costs a
 * warning. */
unsigned keeper_due(const struct keeper *k, long step); /* enum saved_by: what the settings say of a step */
int keeper_save_on_the_way(struct keeper *k, struct error *e) MUST_CHECK;
int keeper_save_stopped(struct keeper *k, struct error *e) MUST_CHECK;
int keeper_save_last(struct keeper *k, struct error *e) MUST_CHECK;

/* save.c; by: enum saved_by */
int keeper_save_adapter(struct keeper *k, unsigned by, struct error *e) MUST_CHECK;
int keeper_save_state(struct keeper *k, unsigned by, struct error *e) MUST_CHECK;
struct rotation adapter_rotation(const struct train_settings *s);
struct rotation state_rotation(const struct train_settings *s);

/* nonfinite.c: writes out what a step that was not finite saw; the step is the one that comes next */
void keeper_keep_nonfinite(struct keeper *k, const struct order_place *place);

void keeper_free(struct keeper *k);

#endif
