/*
 * lines.h - where lines end in the texts that people write: at LF, CR LF, or CR alone, which editors of the old Macintosh wrote.
 *
 * As Python reads text, and so sd-scripts.  Must not know what the lines mean.
 */
#ifndef BASE_LINES_H
#define BASE_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

/* Every end becomes one LF, in place; a NUL is put behind.  Returns the new length. */
size_t lines_unify(char *text, size_t n);

/* A stream's lines one by one, as they come. */
struct line_reader { FILE *file; char *line; size_t capacity; bool after_cr; };
/* Length of reader->line, which ends without its end and with a NUL; -1: no further line, or an error (ferror). */
ssize_t line_next(struct line_reader *r);
void line_reader_free(struct line_reader *r);

#endif
