/*
 * temporary.h - what is being written stands beside its target as .NAME.PID.tmp, a file or a folder, with a lock on it.
 *
 * Owns these names, the lock, and the one answer to "is it abandoned?": the lock is free, and no such process is here.  In another
 * container or on another machine the number means nothing, so that the lock decides.  Private to publish*.c and leftovers.c.
 */
#ifndef IO_TEMPORARY_H
#define IO_TEMPORARY_H

#include <stdbool.h>
#include "../base/error.h"

/* What is written for a name, a link resolved, and the folder that it stands in; both malloced. */
void temporary_target(const char *name, char **target, char **folder);
char *temporary_start(const char *target);                      /* what stands between the dot and PID, malloced */
/* The number in .STARTPID.tmp; 0: another file. */
long temporary_owner(const char *file, const char *start);
/* A descriptor of an abandoned temporary, whose lock it holds, so that nobody else removes it; -1: it is another's. */
int temporary_take(const char *path, long pid);
/* Where target is written until it is whole; malloced.  What dead writers left of the same target is removed; *others: a living one writes
 * it too. */
char *temporary_beside(const char *folder, const char *target, bool *others);
/* For a descriptor of a temporary that was just made.  False: somebody took it for abandoned before it was locked; make it again. */
bool temporary_lock(int fd, const char *path);
/* A file, or a folder with all that is in it. */
void temporary_remove(const char *path);
/* Of the temporaries in the folder whose name begins with START, those whose writer is gone are removed. */
void temporaries_clean(const char *folder, const char *start);

#endif
