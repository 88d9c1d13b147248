/*
 * library.h - a shared library that is opened when a run first needs it: what it brings along, no other run waits for.
 *
 * Must not know what the library does.
 */
#ifndef BASE_LIBRARY_H
#define BASE_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

struct library_function { const char *name; size_t at; };      /* at: its pointer's place in the table */

/* Writes the address of each function into the table.  Those of the libraries that it brings along are found too.
 * false: it is not there, or lacks one; errno is ENOMEM where memory was lacking.  It stays open until the end: some
 * keep threads and types that cannot be unloaded, and opening it anew costs more than most work. */
bool library_open(const char *file, const struct library_function *functions, size_t count, void *table);

#endif
