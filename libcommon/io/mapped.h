/*
 * mapped.h - files mapped for reading, and what happens when one shrinks meanwhile: the program ends with EXIT_INPUT
 * and the file's name, not with SIGBUS.
 */
#ifndef IO_MAPPED_H
#define IO_MAPPED_H

#include <stddef.h>

/* MAP_FAILED with errno where it fails.  path must live as long as the map. */
void *mapped_open(int fd, size_t bytes, const char *path);
void mapped_close(void *map, size_t bytes);

#endif
