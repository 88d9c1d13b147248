/*
 * fuzz.h - what the targets share.  A target is one function over bytes from outside; beyond "it does not crash" it
 * holds a property, and abort() is how it fails.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "../../libcommon/base/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

#define HOLDS(what) do { \
		if (!(what)) { \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #what); \
			abort(); \
		} \
	} while (0)

/* For readers that want a file: its path, until the descriptor is closed. */
struct fuzz_file { int fd; char path[40]; };

static inline struct fuzz_file fuzz_file(const void *bytes, size_t n)
{
	struct fuzz_file f = { .fd = memfd_create("input", 0) };

	HOLDS(f.fd >= 0 && write(f.fd, bytes, n) == (ssize_t)n && lseek(f.fd, 0, SEEK_SET) == 0);
	snprintf(f.path, sizeof(f.path), "/proc/self/fd/%d", f.fd);
	return f;
}

#endif
