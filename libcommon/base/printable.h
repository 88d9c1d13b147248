/*
 * printable.h - text from outside made safe for a terminal: names, captions, metadata, keys, messages.
 *
 * Owns which characters command a terminal or reorder what it shows: C0 and C1 controls, DEL, and those that change the
 * direction of writing.  They are printed escaped, as \x1b or \u202e; so are bytes that are not UTF-8.
 */
#ifndef BASE_PRINTABLE_H
#define BASE_PRINTABLE_H

#include <stdbool.h>
#include <stdint.h>
#include "memory.h"

enum { PRINTABLE_LONGEST = 8 };

bool commands_terminal(uint32_t c);             /* newline and tab too */

/* Takes the next character of *at .. end and moves *at behind it.  out is that character, or its escaped form, without
 * a NUL.  Returns the number of bytes in out. */
size_t printable_next(const char **at, const char *end, char out[PRINTABLE_LONGEST]);

/* Adds a name or value that stands within a line: newline and tab are escaped too. */
void buffer_add_printable(struct buffer *b, const char *text, size_t n);

/* Prints text of many lines to a descriptor, or to standard output.  EXIT_IO where it cannot be written. */
int print_text_to(int fd, const char *text, size_t n, struct error *e) MUST_CHECK;
int print_text(const char *text, size_t n, struct error *e) MUST_CHECK;

#endif
