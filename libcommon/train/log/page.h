/*
 * page.h - a run's events as one self-contained HTML page: curves, samples over time, findings, settings.
 *
 * It is given the events of the log, in order.  A resumed run replaces the events after its starting step.  Must not
 * know where events come from.
 */
#ifndef TRAIN_LOG_PAGE_H
#define TRAIN_LOG_PAGE_H

#include "../../io/json.h"

#define LOSS_BINS 10                    /* of the timesteps, equally wide */

struct report;

struct report *report_new(void);
void report_free(struct report *r);             /* accepts NULL */
bool report_begun(const struct report *r);       /* there is something to show */
void report_event(struct report *r, const json_t *event);
int report_write(const struct report *r, const char *path, const char *title, struct error *e) MUST_CHECK;

#endif
