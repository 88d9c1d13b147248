/*
 * error.h - how an error is reported: one line, `tool: FILE:LINE: what is wrong; what to do`.
 *
 * Owns the exit codes and the text of a failure.  Must not know files, formats or tools.
 *
 * Code that reads bytes from outside, or that a caller may want to survive, returns fail(e, ...), which is -1.  The
 * caller's `struct error` then holds code and text.  What cannot be handled (our own bug, no memory) calls die().
 * A tool's main ends in `return report(&e)`.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>
#include <stddef.h>

enum exit_code {
	EXIT_DONE = 0,          /* finished */
	EXIT_OTHER = 1,         /* anything without a number of its own */
	EXIT_USAGE = 2,         /* command line or configuration */
	EXIT_INPUT = 3,         /* bad, corrupt or truncated input */
	EXIT_IO = 4,            /* disk full, permission, device error */
	EXIT_MEMORY = 5,        /* memory or device */
	EXIT_DIVERGED = 6,      /* training left the finite numbers */
	EXIT_SAVED = 75,        /* stopped but saved: run again to go on */
};

struct error {
	int code;               /* an exit_code; 0 while nothing has failed */
	char text[1000];        /* without tool name and newline; controls are escaped when printed */
};

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_CHECK __attribute__((warn_unused_result))

/* Fill in *e and return -1.  A failure already in *e is overwritten.  errno is not read: say strerror() yourself. */
int fail(struct error *e, enum exit_code code, const char *format, ...) PRINTF_LIKE(3, 4);

/* The exit code for the errno of a system call on a path.  EXIT_INPUT: nothing readable can be there (ENOENT, ENOTDIR,
 * ELOOP, ENAMETOOLONG, EISDIR).  EXIT_MEMORY: ENOMEM.  EXIT_IO: everything else (disk, limits, permissions). */
enum exit_code exit_of_errno(int number);

/* Put "WHERE: " before the text already in *e; returns -1.  For a reader that learns its file's name further up. */
int fail_at(struct error *e, const char *where);

/* Print "tool: TEXT\n" to stderr in one write, controls escaped (printable.h); return the code. */
int report(const struct error *e);

/* As report(), then exit.  Flushes nothing of stdout: a half-written record must not look whole. */
void die(enum exit_code code, const char *format, ...) PRINTF_LIKE(2, 3) __attribute__((noreturn));

void warning(const char *format, ...) PRINTF_LIKE(1, 2);        /* "tool: warning: TEXT" */
void note(const char *format, ...) PRINTF_LIKE(1, 2);           /* "tool: TEXT", dropped after quiet(1) */
/* Notes and warnings for which it says true are not printed (said.h). */
void notes_kept_by(bool (*before)(const char *line));
void quiet(int on);                                             /* -q: notes are dropped, warnings stay */
int is_quiet(void);

#endif
