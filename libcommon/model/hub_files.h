/*
 * hub_files.h - the files that a repository of the hub must hold, and the command that fetches them.  Private to
 * hub_cache.c.
 */
#ifndef MODEL_HUB_FILES_H
#define MODEL_HUB_FILES_H

#include "hub_cache.h"

/* Does the copy in `folder` have every file that the needed parts consist of? */
bool hub_is_whole(const char *folder, enum hub_kind kind, unsigned needed);
/* Fails with the first file that is missing.  folder NULL: there is no copy at all.  cache NULL: the local cache, which
 * is `root`. */
int hub_tell_missing(const char *id, const char *folder, const char *root, const char *cache, enum hub_kind kind,
		     unsigned needed, struct error *e);
bool hub_has(const char *folder, const char *name);

#endif
