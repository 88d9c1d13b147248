/*
 * stop.h - signals and the clock: when a run must save, and when it must stop.
 *
 * SIGTERM, SIGHUP, --max-duration: finish the step, save, exit 75.  SIGINT: the same, then die of SIGINT.  SIGUSR1:
 * save now, go on.  SIGUSR2: paint samples now, go on.  Before the first step there is nothing to save, and SIGTERM,
 * SIGHUP and SIGINT end the program as usual.  A second SIGTERM or SIGHUP changes nothing: timeout(1), service managers
 * and terminals send them in pairs.  A second SIGINT, which a person types, stops at once.  A signal that was ignored
 * at the start (nohup) stays ignored.  SIGPIPE is ignored: a reader of the metrics that ends must not end a run.
 */
#ifndef TRAIN_STOP_H
#define TRAIN_STOP_H

#include <stdbool.h>
#include "../base/error.h"

/* starts the clock (INFINITY: no limit), and handles all but stop signals */
void stop_clock(double max_seconds);
void stop_watch(void);                          /* handles stop signals too: now there is something to save */
bool stop_wanted(void);
bool save_wanted(void);                         /* true once a SIGUSR1 */
bool sample_wanted(void);                       /* true once a SIGUSR2 */
/* What this program was told so far, and of another program that it must follow (share.h). */
struct stop_signals { int stop; bool save, sample, late; };     /* stop: a signal; late: the time is over */
struct stop_signals stop_signals(void);
void stop_take_over(const struct stop_signals *other);
const char *stop_reason(void);                  /* "SIGTERM", "time limit" */
/* After saving: dies of SIGINT when that was the reason, else returns EXIT_SAVED. */
int stop_now(void);

/* "5h45m", "90s", "2d", "1h30m10s"; a bare number is seconds. */
int parse_duration(const char *text, double *seconds, struct error *e) MUST_CHECK;

#endif
