/*
 * lines.h - lines of text files, which end at LF, CR LF, or CR alone (editors of the old Macintosh).
 *
 * Python reads text in the same way, and so does sd-scripts.  Must not know what the lines mean.
 */
#ifndef BASE_LINES_H
#define BASE_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

/* Turns every end of a line into one LF, in place, and puts a NUL behind.  Returns the new length. */
size_t lines_unify(char *text, size_t n);

/* The lines of a stream, one by one as they arrive. */
struct line_reader { FILE *file; char *line; size_t capacity; bool after_cr; };
/* Reads the next line into r->line, without its end and with a NUL.  Returns its length; -1 at the end of the stream or
 * at an error (ferror tells). */
ssize_t line_next(struct line_reader *r);
void line_reader_free(struct line_reader *r);

#endif
