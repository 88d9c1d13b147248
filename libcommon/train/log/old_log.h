/*
 * old_log.h - whether a file that is there is a log of ours, which a run may go on with.
 *
 * Owns what a line of a log looks like.  Reads only; who goes on cuts the torn end.
 */
#ifndef TRAIN_LOG_OLD_LOG_H
#define TRAIN_LOG_OLD_LOG_H

#include <jansson.h>
#include "../../base/memory.h"

/* Every line must be an event of lora-train; only the last may be torn.  *sound: bytes before the torn line.  EXIT_USAGE: another file. */
int old_log_read(const char *path, struct buffer *text, size_t *sound, struct error *e) MUST_CHECK;
/* The event of the line at *at, which moves on behind it; NULL at the end.  json_decref() it. */
json_t *old_log_next(const struct buffer *text, size_t sound, size_t *at);

#endif
