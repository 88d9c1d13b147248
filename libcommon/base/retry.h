/*
 * retry.h - a system call that a signal interrupted is made again.
 *
 * Every call that may wait goes through RETRY(): open, read, write, pread, pwrite, fsync, flock, ftruncate and their like.  Only close is
 * closed all the same, so it goes through closed().
 */
#ifndef BASE_RETRY_H
#define BASE_RETRY_H

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

/* 0, or -1: on network disks only close tells that a write failed. */
static inline int closed(int fd)
{
	return close(fd) < 0 && errno != EINTR ? -1 : 0;
}

#endif
