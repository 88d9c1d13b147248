/*
 * tensorboard.h - TensorBoard event files: scalars, pictures and texts by step.
 *
 * Owns the record framing (length and data, each with its masked CRC-32C) and the few protocol-buffer messages that are
 * written.  Must not know what the numbers mean.
 *
 * A folder is a run.  Each opening begins a new file, named one higher than those that are there: TensorBoard reads
 * them in order of names.  The file begins with the step that it goes on from, so that TensorBoard forgets what an
 * earlier file holds beyond it.  Each event is one write, so a crash costs the last event at most.
 */
#ifndef IO_TENSORBOARD_H
#define IO_TENSORBOARD_H

#include <stddef.h>
#include <stdint.h>
#include "../base/error.h"

struct tensorboard;

/* folder is made if it does not exist.  step: the number of steps done so far. */
struct tensorboard *tensorboard_open(const char *folder, int64_t step, struct error *e) MUST_CHECK;
int tensorboard_close(struct tensorboard *t, struct error *e) MUST_CHECK;       /* accepts NULL; frees t either way */

/* Several scalars of one step go into one event: add them, then end it.  A number that is not finite is left out. */
void tensorboard_scalar(struct tensorboard *t, const char *tag, double value);
void tensorboard_text(struct tensorboard *t, const char *tag, const char *text);        /* Markdown */
void tensorboard_png(struct tensorboard *t, const char *tag, int width, int height, const void *png, size_t n);
int tensorboard_event(struct tensorboard *t, int64_t step, struct error *e) MUST_CHECK;

/* The masked CRC-32C that a record carries after its length and after its data. */
uint32_t tensorboard_checksum(const void *data, size_t n);

#endif
