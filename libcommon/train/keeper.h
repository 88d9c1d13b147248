/*
 * keeper.h - what a run keeps in its output folder: the lock, adapters and states, and which run they are of.
 */
#ifndef TRAIN_KEEPER_H
#define TRAIN_KEEPER_H

#include "saved.h"
#include "settings/mark.h"

enum run_file { RUN_ADAPTER, RUN_STATE, RUN_FILES };

struct keeper {
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

#endif
