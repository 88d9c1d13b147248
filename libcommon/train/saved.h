/*
 * saved.h - the files that a run leaves on its way: what they are called, which run wrote each and why, and which of them go again.
 *
 * Each file tells run and reason in its metadata, so that a run that is resumed knows its own files, and no run removes another's.
 * Must not know what else such a file holds.
 */
#ifndef TRAIN_SAVED_H
#define TRAIN_SAVED_H

#include <stdbool.h>
#include <stddef.h>
#include "../base/error.h"

#define STATE_SUFFIX "-state.safetensors"
#define ADAPTER_SUFFIX ".safetensors"

/* Why a file was saved; several may hold. */
enum saved_by { SAVED_BY_STEPS = 1, SAVED_BY_EPOCHS = 2, SAVED_BY_CLOCK = 4, SAVED_ON_REQUEST = 8, SAVED_AT_STOP = 16, SAVED_AT_END = 32 };

char *saved_text(long step, unsigned by);                       /* value of adapter/metadata.h's SAVED_KEY, malloced */
/* "FOLDER/NAME-step00000123SUFFIX", malloced */
char *saved_path(const char *folder, const char *name, long step, const char *suffix);
/* Newest first, malloced; none where there is no folder.  One that cannot be read is EXIT_IO: it is not empty. */
struct saved_files { char **path; size_t count, capacity; };
int saved_list(const char *folder, const char *name, const char *suffix, struct saved_files *files, struct error *e) MUST_CHECK;
void saved_files_free(struct saved_files *files);
long saved_step(const char *path, const char *suffix);          /* of such a path */
/* Did this run write the file?  Then its step and reasons, 0 where it does not say.  A file that cannot be read is nobody's. */
bool saved_by_run(const char *path, const char *run, long *step, unsigned *by);

/* Steps whose files are known to be damaged: they are no reason to remove others. */
struct step_set { long *step; size_t count, capacity; };
void step_set_add(struct step_set *s, long step);
void step_set_drop(struct step_set *s, long step);              /* nothing where it is not in it */

/* How many are kept; 0: all.  A file that was saved for several reasons goes when none of them wants it any more. */
struct rotation {
	long all;               /* files, whatever the reason */
	long steps;             /* of those saved by steps: of the last so many steps */
	long epochs;            /* of those saved by epochs: files */
	long others;            /* of those saved for another reason: files */
};
/* Of the files of this run in the folder, none of a step after `now`. */
void saved_rotate(const char *folder, const char *name, const char *suffix, const char *run, const struct rotation *keep, long now,
		  const struct step_set *damaged);
/* How many of the files of steps from..to, each saved for what due() says of its step (0: not), are there after the last of them; *saved in
 * all. */
long saved_kept(const struct rotation *keep, unsigned (*due)(const void *run, long step), const void *run, long from, long to, long *saved);

#endif
