/*
 * print.h - text from outside, made safe for a terminal (printable.h) and printed, or added to a buffer.
 */
#ifndef BASE_PRINT_H
#define BASE_PRINT_H

#include "memory.h"

/* Adds a name or value that stands within a line: newline and tab are escaped too. */
void buffer_add_printable(struct buffer *b, const char *text, size_t n);

/* Prints text of many lines to a descriptor, or to standard output.  EXIT_IO where it cannot be written. */
int print_text_to(int fd, const char *text, size_t n, struct error *e) MUST_CHECK;
int print_text(const char *text, size_t n, struct error *e) MUST_CHECK;

#endif
