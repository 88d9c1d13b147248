/* Writes in pieces, each when a pipe has room for it. */
#include <limits.h>
#include <poll.h>
#include "retry.h"
#include "slow_reader.h"

enum { ASK_MS = 200 };

/* poll(2) ends at a signal, whatever SA_RESTART says. */
static bool takes_within(int fd, int ms)
{
	struct pollfd p = { fd, POLLOUT, 0 };

	return poll(&p, 1, ms) > 0;             /* an end that is gone: write(2) tells */
}

bool takes_now(int fd)
{
	return takes_within(fd, 0);
}

/* A pipe that poll(2) calls ready has room for PIPE_BUF bytes. */
int write_until(int fd, const void *bytes, size_t n, bool (*give_up)(void))
{
	const char *at = bytes;

	while (n) {
		const size_t piece = n < PIPE_BUF ? n : PIPE_BUF;

		while (!takes_within(fd, ASK_MS))
			if (give_up()) {
				errno = ECANCELED;
				return -1;
			}
		if (write_all(fd, at, piece) < 0)
			return -1;
		at += piece;
		n -= piece;
	}
	return 0;
}
