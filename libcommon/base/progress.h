/*
 * progress.h - progress on stderr: a bar on a terminal, a line each 30 s anywhere else, nothing after quiet(1).
 *
 * Must not know any tool: the label and the trailing words are the caller's.
 */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdint.h>

struct progress;
/* total 0: unknown.  unit is plural: "pictures", "steps". */
struct progress *progress_begin(const char *label, const char *unit, uint64_t total);
/* Cheap enough to call each step: redraws at most ten times a second.  words may be NULL ("loss 0.123"). */
void progress_at(struct progress *p, uint64_t done, const char *words);
void progress_end(struct progress *p);                          /* leaves one closing line; accepts NULL */

double seconds_now(void);                                       /* monotonic clock, for differences */

#endif
