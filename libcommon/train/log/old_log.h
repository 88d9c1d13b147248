/*
 * old_log.h - reads an existing log, and refuses a file that is none of ours.
 *
 * Owns what a line of a log looks like.  Reads only; the caller cuts off an incomplete end.
 */
#ifndef TRAIN_LOG_OLD_LOG_H
#define TRAIN_LOG_OLD_LOG_H

#include <jansson.h>
#include "../../base/memory.h"

/* Every line must be an event of lora-train; only the last may be incomplete.  *sound: bytes before such a line.
 * EXIT_USAGE: another file. */
int old_log_read(const char *path, struct buffer *text, size_t *sound, struct error *e) MUST_CHECK;
/* The event of the line at *at, which moves on behind it; NULL at the end.  json_decref() it. */
json_t *old_log_next(const struct buffer *text, size_t sound, size_t *at);

#endif
