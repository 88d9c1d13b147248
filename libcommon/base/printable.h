/*
 * printable.h - text from outside made safe for a terminal: names, captions, metadata, keys, messages.
 *
 * Owns which characters command a terminal or reorder what it shows: C0 and C1 controls, DEL, and those that change the
 * direction of writing.  They are printed escaped, as \x1b or \u202e; so are bytes that are not UTF-8.
 */
#ifndef BASE_PRINTABLE_H
#define BASE_PRINTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PRINTABLE_LONGEST = 8 };

bool commands_terminal(uint32_t c);             /* newline and tab too */

/* Takes the next character of *at .. end and moves *at behind it.  out is that character, or its escaped form, without
 * a NUL.  Returns the number of bytes in out. */
size_t printable_next(const char **at, const char *end, char out[PRINTABLE_LONGEST]);

#endif
