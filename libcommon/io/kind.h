/*
 * kind.h - the kind of a file by its first bytes ("a JPEG picture", "a latent tar"), for the message of a reader that
 * was given a file of another kind.
 *
 * Owns the one table of the kinds that are told apart.  Must not know the readers.
 */
#ifndef IO_KIND_H
#define IO_KIND_H

#include <stdbool.h>
#include "../base/error.h"

enum { KIND_BYTES = 4096 };             /* more are not looked at */

/* Kinds that programs here write as reports. */
#define KIND_HTML "an HTML page"
#define KIND_JSON "JSON"
#define KIND_PNG "a PNG picture"

/* NULL: an unknown kind, or plain text. */
const char *kind_of(const void *bytes, size_t n);
/* TensorBoard's, by the checksum of the first record's length */
bool kind_is_events(const void *bytes, size_t n);

/* After a reader failed: where the bytes are of a known kind that does not end in `own` ("JSON", "tar"; NULL: any is
 * another), the message in *e becomes "PATH: is KIND, not WANTED"; the code stays.  Returns -1. */
int kind_tell(const char *path, const void *bytes, size_t n, const char *own, const char *wanted, struct error *e);
/* The same of a file; one that cannot be read, or is a pipe, changes nothing. */
int kind_tell_file(const char *path, const char *own, const char *wanted, struct error *e);

#endif
