/*
 * slow_reader.h - writing to a pipe or terminal whose other end may take nothing for as long as it likes: a pager at
 * rest, a stopped program, a terminal after Ctrl-S.  A plain write(2) waits there, and begins again after a signal.
 */
#ifndef BASE_SLOW_READER_H
#define BASE_SLOW_READER_H

#include <stdbool.h>
#include <stddef.h>

/* Does the other end take something now?  A file always does. */
bool takes_now(int fd);
/* Writes all n bytes; 0, or -1 and errno: ECANCELED, which no write(2) says, where give_up() said so while nothing was
 * taken.  It is asked after each signal, and a few times a second. */
int write_until(int fd, const void *bytes, size_t n, bool (*give_up)(void));

#endif
