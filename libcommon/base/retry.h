/*
 * retry.h - repeats a system call that a signal interrupted.
 *
 * Every call that may wait goes through RETRY(): open, read, write, pread, pwrite, fsync, flock, ftruncate and their
 * like.  Only close goes through closed(): an interrupted close has closed its descriptor all the same.
 */
#ifndef BASE_RETRY_H
#define BASE_RETRY_H

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

/* The call's result; -1 with another errno than EINTR is a failure. */
#define RETRY(call) __extension__ ({ \
	__typeof__(call) result_; \
	do \
		result_ = (call); \
	while (result_ < 0 && errno == EINTR); \
	result_; \
})

static inline DIR *open_folder(const char *path)
{
	DIR *d;

	do
		d = opendir(path);
	while (!d && errno == EINTR);
	return d;
}

/* Writes all n bytes; 0, or -1. */
static inline int write_all(int fd, const void *bytes, size_t n)
{
	const char *at = bytes;

	while (n) {
		const ssize_t done = RETRY(write(fd, at, n < 1u << 30 ? n : 1u << 30));
		if (done <= 0)
			return -1;
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

/* Closes fd; 0, or -1.  The result matters: on network disks only close tells that a write failed. */
static inline int closed(int fd)
{
	return close(fd) < 0 && errno != EINTR ? -1 : 0;
}

#endif
