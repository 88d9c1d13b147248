/*
 * events.h - where a run tells what happens: JSON lines, and what is made of the same lines: TensorBoard's files and a page.
 *
 * Owns the descriptor of the lines and what becomes of a run whose lines cannot be written: it goes on.  Must not know training.
 */
#ifndef TRAIN_LOG_EVENTS_H
#define TRAIN_LOG_EVENTS_H

#include "../../io/json.h"
#include "../settings/settings.h"

struct events {
	struct json_out line;           /* the event that is being made */
	int fd;                         /* -1: nobody reads */
	const char *name;               /* of the place, for messages */
	struct error lost;              /* why something could not be written, where that is no reader's choice */
	struct tensorboard *board;
	struct report *report;
};

/* Can the place of the lines be written, and if a file is there, is it a log of ours?  Changes nothing.  EXIT_USAGE: another file. */
int events_check(const struct train_settings *s, struct error *e) MUST_CHECK;
/* The place of the lines, once everything that is read is known to be sound.  A log that is there is gone on with: a torn last line is cut
 * off, so that it stays readable. */
int events_open(struct events *ev, const struct train_settings *s, struct error *e) MUST_CHECK;
/* The rest, once it is known what is behind us.  name: of the run in the logging folder. */
int events_open_board(struct events *ev, const struct train_settings *s, long step, struct error *e) MUST_CHECK;

/* {"event": kind, "step": step, ... - the caller adds fields and calls events_tell(). */
struct json_out *events_begin(struct events *ev, const char *kind, long step);
void events_tell(struct events *ev);
/* A number for TensorBoard alone, with the step of the next event; one that is not finite is left out. */
void events_scalar(struct events *ev, const char *tag, double value);
/* Those that were added so far, at a step of their own: an epoch's number. */
void events_tell_scalars(struct events *ev, long step);

/* Write the page, close everything.  What was lost on the way is told now: -1, *e. */
int events_close(struct events *ev, const struct train_settings *s, struct error *e) MUST_CHECK;
void events_free(struct events *ev);

#endif
