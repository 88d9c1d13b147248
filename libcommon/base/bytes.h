/*
 * bytes.h - an amount of memory as text, and parsed from text.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stddef.h>
#include "error.h"

enum { BYTES_SIZE = 32 };
void bytes_words(size_t bytes, char words[BYTES_SIZE]);         /* "5.88 GiB" */
/* Accepts "12GiB", "11.5G", "12000MB", and bytes without a unit.  EXIT_USAGE where the text is none of these. */
int bytes_parse(const char *text, size_t *bytes, struct error *e) MUST_CHECK;

#endif
