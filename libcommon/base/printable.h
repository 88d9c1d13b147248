/*
 * printable.h - text of others on its way to a terminal: names, captions, metadata, keys, messages.
 *
 * Owns which characters command a terminal or turn what it shows: C0 and C1 controls, DEL, and those that change the direction of writing.
 * They are shown as \x1b and \u202e; so are bytes that are no UTF-8.
 */
#ifndef BASE_PRINTABLE_H
#define BASE_PRINTABLE_H

#include <stdbool.h>
#include <stdint.h>
#include "memory.h"

enum { PRINTABLE_LONGEST = 8 };

bool commands_terminal(uint32_t c);             /* newline and tab too */

/* The next character of *at .. end, which moves on: as it is, or what is shown for it.  Returns its bytes; no NUL. */
size_t printable_next(const char **at, const char *end, char out[PRINTABLE_LONGEST]);

/* A name or value within a line: newline and tab are shown as well. */
void buffer_add_printable(struct buffer *b, const char *text, size_t n);

/* Text of many lines to a descriptor, or to standard output.  EXIT_IO where it cannot be written. */
int print_text_to(int fd, const char *text, size_t n, struct error *e) MUST_CHECK;
int print_text(const char *text, size_t n, struct error *e) MUST_CHECK;

#endif
