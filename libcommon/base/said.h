/*
 * said.h - what programs of one launch have said, so that each thing is said once.
 *
 * Several programs read the same settings, and each would give the same notes.  A launcher gives all of them one file
 * (--said): a note that is in it is dropped, a new one is added.  Must not know what is said, nor how.
 */
#ifndef BASE_SAID_H
#define BASE_SAID_H

#include <stdbool.h>
#include "error.h"

/* From here on.  What this program itself repeats is not dropped: only what was in the file before. */
int said_open(const char *path, struct error *e) MUST_CHECK;
/* One line without its newline.  False: it is new here, and now it is in the file. */
bool said_before(const char *line);

#endif
