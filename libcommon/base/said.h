/*
 * said.h - the notes that the programs of one launch have printed, so that each is printed once.
 *
 * A launcher (pipelines/) starts several programs that read the same settings, and each would print the same notes.  It
 * gives all of them one file (--said).  A note that is in the file is dropped; a new one is printed and added.
 * Must not know what the notes say, nor how they are printed.
 */
#ifndef BASE_SAID_H
#define BASE_SAID_H

#include "error.h"

/* Starts it, through notes_kept_by() of error.h.  Only notes that are in the file now are dropped, not those that this
 * program itself repeats. */
int said_open(const char *path, struct error *e) MUST_CHECK;

#endif
