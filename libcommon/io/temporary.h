/*
 * temporary.h - temporaries: an output that is being written is .NAME.PID.tmp beside its target, a file or a folder,
 * and locked.
 *
 * Owns these names, the lock, and the one answer to "is it abandoned?": the lock is free, and there is no process PID.
 * A PID of another container or machine means nothing here; then the lock decides.  Private to publish*.c and
 * leftovers.c.
 */
#ifndef IO_TEMPORARY_H
#define IO_TEMPORARY_H

#include <stdbool.h>
#include "../base/error.h"

/* For an output's name: the target (links resolved) and the target's folder, both malloced. */
void temporary_target(const char *name, char **target, char **folder);
char *temporary_start(const char *target);      /* START, the text between the dot and PID; malloced */
/* The PID in .STARTPID.tmp; 0 where the file is no such temporary. */
long temporary_owner(const char *file, const char *start);
/* A descriptor of an abandoned temporary.  It holds the lock, so that nobody else removes the file.  -1: the temporary
 * is not abandoned. */
int temporary_take(const char *path, long pid);
/* The path of the temporary for target; malloced.  Temporaries of dead writers of the same target are removed.
 * *others: a living process is writing it too. */
char *temporary_beside(const char *folder, const char *target, bool *others);
/* Locks a temporary that was just made.  False: somebody took it for abandoned before it was locked; make it again. */
bool temporary_lock(int fd, const char *path);
/* Removes a file, or a folder with all that is in it. */
void temporary_remove(const char *path);
/* Removes the abandoned temporaries in the folder whose names begin with START. */
void temporaries_clean(const char *folder, const char *start);

#endif
