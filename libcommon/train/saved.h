/*
 * saved.h - the files that a run saves at single steps: their names, which run wrote each and why, and which are
 * removed again.
 *
 * Each file tells run and reasons in its metadata, so that a resumed run knows its own files, and no run removes
 * another's.  Must not know what else such a file holds.
 */
#ifndef TRAIN_SAVED_H
#define TRAIN_SAVED_H

#include <stdbool.h>
#include <stddef.h>
#include "../base/error.h"

#define STATE_SUFFIX "-state.safetensors"
#define ADAPTER_SUFFIX ".safetensors"

/* Why a file was saved; several may hold. */
enum saved_by { SAVED_BY_STEPS = 1, SAVED_BY_EPOCHS = 2, SAVED_BY_CLOCK = 4, SAVED_ON_REQUEST = 8, SAVED_AT_STOP = 16,
		SAVED_AT_END = 32 };

char *saved_text(long step, unsigned by);                       /* value of adapter/metadata.h's SAVED_KEY, malloced */
/* "FOLDER/NAME-step00000123SUFFIX", malloced */
char *saved_path(const char *folder, const char *name, long step, const char *suffix);
/* Lists them, newest first, malloced; an empty list where there is no folder.
 * A folder that cannot be read is EXIT_IO. */
struct saved_files { char **path; size_t count, capacity; };
int saved_list(const char *folder, const char *name, const char *suffix, struct saved_files *files,
	       struct error *e) MUST_CHECK;
void saved_files_free(struct saved_files *files);
long saved_step(const char *path, const char *suffix);          /* of such a path */
/* Did this run write the file?  If so, sets its step and reasons, 0 where the file does not tell.  False for a file
 * that cannot be read. */
bool saved_by_run(const char *path, const char *run, long *step, unsigned *by);

/* Steps whose files are known to be damaged: no other file is removed in favour of them. */
struct step_set { long *step; size_t count, capacity; };
void step_set_add(struct step_set *s, long step);
void step_set_drop(struct step_set *s, long step);              /* nothing where it is not in it */

/* How many files are kept; 0: all.  A file that was saved for several reasons is removed when no reason keeps it. */
struct rotation {
	long all;               /* files, whatever the reason */
	long steps;             /* of those saved by steps: of the last so many steps */
	long epochs;            /* of those saved by epochs: files */
	long others;            /* of those saved for another reason: files */
};
/* Removes files of this run that are no longer kept, but none of a step after `now`. */
void saved_rotate(const char *folder, const char *name, const char *suffix, const char *run,
		  const struct rotation *keep, long now, const struct step_set *damaged);
/* The number of files that are kept after step `to`, of those saved at steps from..to; due() gives the reasons of a
 * step (0: not saved).  *saved: the number of all saved. */
long saved_kept(const struct rotation *keep, unsigned (*due)(const void *run, long step), const void *run, long from,
		long to, long *saved);

#endif
