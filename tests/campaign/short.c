/* Preloaded into a program: every SHORT_EVERY-th call of read or write, whichever SHORT names, moves half of what was
 * asked for at most, as the kernel may do any time. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static size_t cut(const char *what, size_t n)
{
	static atomic_ulong calls;
	const char *wanted = getenv("SHORT"), *every = getenv("SHORT_EVERY");
	unsigned long period = every ? strtoul(every, NULL, 10) : 0;

	if (n < 2 || !wanted || !period || strcmp(wanted, what) || atomic_fetch_add(&calls, 1) % period)
		return n;
	return (n + 1) / 2;
}

ssize_t read(int fd, void *p, size_t n) { return syscall(SYS_read, fd, p, cut("read", n)); }
ssize_t pread(int fd, void *p, size_t n, off_t at) { return syscall(SYS_pread64, fd, p, cut("read", n), at); }
ssize_t pread64(int fd, void *p, size_t n, off_t at) { return syscall(SYS_pread64, fd, p, cut("read", n), at); }
ssize_t write(int fd, const void *p, size_t n) { return syscall(SYS_write, fd, p, cut("write", n)); }
ssize_t pwrite(int fd, const void *p, size_t n, off_t at) { return syscall(SYS_pwrite64, fd, p, cut("write", n), at); }
ssize_t pwrite64(int fd, const void *p, size_t n, off_t at)
{
	return syscall(SYS_pwrite64, fd, p, cut("write", n), at);
}
