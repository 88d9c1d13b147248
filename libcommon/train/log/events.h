/*
 * events.h - the events of a run, written as JSON lines; TensorBoard's files and an HTML page are made from the same
 * events.
 *
 * Owns the descriptor of the lines.  A run whose lines cannot be written goes on.  Must not know training.
 */
#ifndef TRAIN_LOG_EVENTS_H
#define TRAIN_LOG_EVENTS_H

#include "../../io/json.h"
#include "../settings/settings.h"

struct events {
	struct json_out line;           /* the event that is being made */
	int fd;                         /* -1: no lines are written */
	bool (*give_up)(void);          /* asked while their reader takes nothing: lose them, and go on? */
	const char *name;               /* of the file or "standard output", for messages */
	struct error lost;              /* the first failure to write that no reader of a pipe caused */
	struct tensorboard *board;
	struct report *report;
};

/* Can the file of the lines be written, and if it exists, is it a log of ours?  Changes nothing.  EXIT_USAGE: another
 * file. */
int events_check(const struct train_settings *s, struct error *e) MUST_CHECK;
/* Opens the file of the lines, when all inputs are known to be valid.  An existing log is continued: an incomplete last
 * line is cut off, so that the file stays readable. */
int events_open(struct events *ev, const struct train_settings *s, struct error *e) MUST_CHECK;
/* Opens the rest, when it is known how many steps are done.  name: of the run in the logging folder. */
int events_open_board(struct events *ev, const struct train_settings *s, long step, struct error *e) MUST_CHECK;

/* Begins {"event": kind, "step": step, ...; the caller adds fields and calls events_tell(). */
struct json_out *events_begin(struct events *ev, const char *kind, long step);
void events_tell(struct events *ev);
/* A number for TensorBoard alone, with the step of the next event; one that is not finite is left out. */
void events_scalar(struct events *ev, const char *tag, double value);
/* Writes the scalars that were added so far, at a step of their own: an epoch's number. */
void events_tell_scalars(struct events *ev, long step);

/* Writes the page and closes everything.  Returns -1 and *e where something could not be written, now or before. */
int events_close(struct events *ev, const struct train_settings *s, struct error *e) MUST_CHECK;
void events_free(struct events *ev);

#endif
