/* Lines of text that end at LF, CR LF or CR: in memory, and of a stream. */
#include <errno.h>
#include <stdlib.h>
#include "lines.h"
#include "memory.h"

size_t lines_unify(char *text, size_t n)
{
	size_t to = 0;

	for (size_t i = 0; i < n; i++) {
		const bool cr = text[i] == '\r';

		i += cr && i + 1 < n && text[i + 1] == '\n';
		text[to++] = cr ? '\n' : text[i];
	}
	if (to < n)
		text[to] = 0;
	return to;
}

/* A read that a signal interrupted ends nothing. */
static int next_byte(FILE *f)
{
	int c;

	while ((c = getc(f)) == EOF && ferror(f) && errno == EINTR)
		clearerr(f);
	return c;
}

/* After a CR the next byte may not be there for long, so its LF is taken off the next line. */
ssize_t line_next(struct line_reader *r)
{
	size_t n = 0;
	int c;

	while ((c = next_byte(r->file)) != EOF) {
		const bool skip = c == '\n' && r->after_cr && n == 0;

		r->after_cr = c == '\r';
		if (skip)
			continue;
		GROW(r->line, n, r->capacity);
		if (c == '\n' || c == '\r') {
			r->line[n] = 0;
			return n;
		}
		r->line[n++] = (char)c;
	}
	if (!n)
		return -1;
	GROW(r->line, n, r->capacity);
	r->line[n] = 0;
	return n;
}

void line_reader_free(struct line_reader *r)
{
	free(r->line);
}
