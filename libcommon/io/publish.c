/* Writing a file: to a temporary beside its target, made durable, then renamed. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../base/retry.h"
#include "claims.h"
#include "publish.h"
#include "temporary.h"

struct publish {
	int fd;
	char *name;             /* as the caller says it, for messages */
	char *target, *temp;    /* temp NULL: written in place (a pipe, a device, standard output) */
	char *folder;
	uint64_t written;
	unsigned char *gathered;        /* publish_past_memory()'s, GATHERED bytes; else NULL */
	size_t waiting;                 /* bytes in it */
};

/* A multiple of every disk's sectors, at a boundary of as many bytes as the largest have. */
enum { GATHERED = 4 << 20, SECTOR = 4096 };

static int io_error(struct error *e, const char *path, const char *doing)
{
	const char *what = strerror(errno), *advice = "check the path and its permissions";

	if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
		advice = "free some space and run again";
	return fail(e, EXIT_IO, "%s: %s: %s; %s", path, doing, what, advice);
}

static void release(struct publish *p)
{
	free(p->name);
	free(p->target);
	free(p->temp);
	free(p->folder);
	free(p->gathered);
	free(p);
}

/* ---- the temporary ---- */

/* Mode 0666 lets the kernel apply the umask, which no thread can read without changing it. */
static int open_temp(struct publish *p, const struct stat *old, struct error *e)
{
	bool others;            /* who is last wins */

	p->temp = temporary_beside(p->folder, p->target, &others);
	do {
		p->fd = RETRY(open(p->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
		if (p->fd < 0 && errno == EEXIST)
			return fail(e, EXIT_IO, "%s: is being written by somebody else (%s); "
						"wait, or choose another name", p->name, p->temp);
		if (p->fd < 0)
			return io_error(e, p->name, "creating a temporary file beside it");
	} while (!temporary_lock(p->fd, p->temp) && !close(p->fd));
	if (old && fchmod(p->fd, old->st_mode & 0777)) {
		io_error(e, p->name, "keeping the file's mode");
		unlink(p->temp);
		close(p->fd);
		return -1;
	}
	return 0;
}

void publish_clean(const char *folder, const char *start)
{
	temporaries_clean(folder, start);
}

/* ---- the target ---- */

static int refuse_terminal(struct publish *p, bool binary, struct error *e)
{
	if (!binary || !isatty(p->fd))
		return 0;
	return fail(e, EXIT_USAGE, "%s: a terminal shows no binary data; redirect it, or name a file with -o",
		    strcmp(p->name, "-") ? p->name : "standard output");
}

static int open_in_place(struct publish *p, bool binary, struct error *e)
{
	p->fd = RETRY(open(p->name, O_WRONLY | O_CLOEXEC | O_NOCTTY));
	if (p->fd < 0)
		return io_error(e, p->name, "opening for writing");
	if (refuse_terminal(p, binary, e)) {
		close(p->fd);
		return -1;
	}
	return 0;
}

static int open_target(struct publish *p, bool binary, struct error *e)
{
	struct stat old;
	bool exists;

	if (!strcmp(p->name, "-")) {
		p->fd = STDOUT_FILENO;
		return refuse_terminal(p, binary, e);
	}
	if (!*p->name || p->name[strlen(p->name) - 1] == '/')
		return fail(e, EXIT_USAGE, "'%s': no name for an output file; say FOLDER/NAME", p->name);
	if (claim_check(p->name, e))
		return -1;
	exists = !stat(p->name, &old);
	if (!exists && errno != ENOENT)
		return io_error(e, p->name, "looking at it");
	if (exists && S_ISDIR(old.st_mode))
		return fail(e, EXIT_USAGE, "%s: is a folder; say which file in it", p->name);
	if (exists && !S_ISREG(old.st_mode))
		return open_in_place(p, binary, e);
	temporary_target(p->name, &p->target, &p->folder);
	return open_temp(p, exists ? &old : NULL, e);
}

int publish_could(const char *path, struct error *e)
{
	char *folder = existing_folder(path);
	const long most = pathconf(folder, _PC_NAME_MAX);
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	struct stat st;

	free(folder);
	if (strlen(name) > (size_t)(most > 0 ? most : NAME_MAX))
		return fail(e, EXIT_USAGE, "%s: a name of %zu bytes, which is longer than the disk takes; "
					   "choose a shorter one", path, strlen(name));
	if (stat(path, &st))
		return errno == ENOENT || errno == ENOTDIR ? 0 : io_error(e, path, "looking at it");
	return S_ISREG(st.st_mode) ? 0 : fail(e, EXIT_USAGE, "%s: is %s; remove it, or choose another name", path,
					      S_ISDIR(st.st_mode) ? "a folder" : "no file, but a pipe or a device");
}

struct publish *publish_begin(const char *path, bool binary, struct error *e)
{
	struct publish *p = xcalloc(1, sizeof(*p));

	p->name = xstrdup(path);
	if (open_target(p, binary, e)) {
		release(p);
		return NULL;
	}
	return p;
}

static const char *spoken_name(const struct publish *p)
{
	return strcmp(p->name, "-") ? p->name : "standard output";
}

/* O_DIRECT, which leaves the system's memory out; nothing happens where there is no such thing. */
static void go_past_memory(struct publish *p, bool past)
{
	const int flags = RETRY(fcntl(p->fd, F_GETFL));

	if (flags >= 0)
		fcntl(p->fd, F_SETFL, past ? flags | O_DIRECT : flags & ~O_DIRECT);
}

void publish_past_memory(struct publish *p)
{
	if (!p->temp)
		return;
	p->gathered = aligned_alloc(SECTOR, GATHERED);
	if (p->gathered)
		go_past_memory(p, true);
}

static int write_now(struct publish *p, const void *data, size_t n, struct error *e)
{
	const char *at = data;

	while (n) {
		ssize_t done = RETRY(write(p->fd, at, n < 1u << 30 ? n : 1u << 30));

		if (done < 0 && errno == EINVAL && p->gathered) {       /* larger sectors, or a part was left */
			go_past_memory(p, false);
			done = RETRY(write(p->fd, at, n));
		}
		if (done <= 0) {
			char doing[80];

			snprintf(doing, sizeof(doing), "writing %zu bytes after %llu", n,
				 (unsigned long long)p->written);
			return io_error(e, spoken_name(p), doing);
		}
		at += done;
		n -= (size_t)done;
		p->written += (uint64_t)done;
	}
	return 0;
}

int publish_write(struct publish *p, const void *data, size_t n, struct error *e)
{
	const unsigned char *at = data;

	if (!p->gathered)
		return write_now(p, data, n, e);
	while (n) {
		const size_t part = n < GATHERED - p->waiting ? n : GATHERED - p->waiting;

		memcpy(p->gathered + p->waiting, at, part);
		p->waiting += part;
		at += part;
		n -= part;
		if (p->waiting < GATHERED)
			break;
		p->waiting = 0;
		if (write_now(p, p->gathered, GATHERED, e))
			return -1;
	}
	return 0;
}

/* What is left is no whole number of sectors. */
static int write_waiting(struct publish *p, struct error *e)
{
	const size_t n = p->waiting;

	if (!p->gathered)
		return 0;
	p->waiting = 0;
	go_past_memory(p, false);
	return write_now(p, p->gathered, n, e);
}

int publish_change(struct publish *p, uint64_t at, const void *data, size_t n, struct error *e)
{
	if (write_waiting(p, e))
		return -1;
	if (RETRY(pwrite(p->fd, data, n, (off_t)at)) == (ssize_t)n)
		return 0;
	return fail(e, EXIT_IO, "%s: writing into what was written: %s; name a regular file", p->name, strerror(errno));
}

int publish_fd(struct publish *p)
{
	return p->fd;
}

/* Some file systems have no fsync for files or folders and say so; that is no failure. */
static int sync_fd(int fd)
{
	return RETRY(fsync(fd)) && errno != EINVAL && errno != EROFS && errno != ENOTSUP && errno != EBADF ? -1 : 0;
}

/* A folder that may be written but not read: its entries are there, only later on disk. */
int sync_folder(const char *folder, struct error *e)
{
	int fd = RETRY(open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)), rc = fd < 0 ? 0 : sync_fd(fd);

	if (rc)
		io_error(e, folder, "making its names durable");
	if (fd >= 0)
		close(fd);
	return rc;
}

/* On network disks only close tells that a write failed.  Standard output stays open, so a copy of it is closed. */
static int end_in_place(struct publish *p, struct error *e)
{
	int fd = p->fd == STDOUT_FILENO ? dup(p->fd) : p->fd;

	if (fd < 0 || closed(fd))
		return io_error(e, spoken_name(p), "closing");
	return 0;
}

/* Some file systems cannot refuse; there the name was free a moment ago.  The call goes by its number: glibc has a
 * function for it from 2.28 on, without which a program that asks for it does not start. */
static int rename_to(const char *from, const char *to, bool alone)
{
	if (!alone)
		return rename(from, to);
	if (syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	return errno == EEXIST ? 1 : errno == EINVAL || errno == ENOSYS ? rename(from, to) : -1;
}

static int end_renamed(struct publish *p, bool alone, struct error *e)
{
	int rc = sync_fd(p->fd) ? io_error(e, p->name, "making it durable") : 0;

	if (closed(p->fd) && !rc)
		rc = io_error(e, p->name, "closing");
	if (!rc && (rc = rename_to(p->temp, p->target, alone)) < 0)
		rc = io_error(e, p->name, "renaming the finished temporary to it");
	if (rc)
		unlink(p->temp);
	return rc ? rc : sync_folder(p->folder, e);
}

static int end(struct publish *p, bool alone, struct error *e)
{
	int rc;

	if (write_waiting(p, e)) {
		publish_abandon(p);
		return -1;
	}
	rc = p->temp ? end_renamed(p, alone, e) : end_in_place(p, e);

	release(p);
	return rc;
}

int publish_end(struct publish *p, struct error *e)
{
	return end(p, false, e);
}

int publish_end_new(struct publish *p, struct error *e)
{
	return end(p, true, e);
}

void publish_leave(struct publish *p)
{
	if (!p)
		return;
	if (p->fd != STDOUT_FILENO)
		close(p->fd);
	release(p);
}

void publish_abandon(struct publish *p)
{
	if (!p)
		return;
	if (p->temp)
		unlink(p->temp);
	publish_leave(p);
}

int publish_bytes(const char *path, const void *data, size_t n, struct error *e)
{
	struct publish *p = publish_begin(path, false, e);

	if (!p)
		return -1;
	if (publish_write(p, data, n, e)) {
		publish_abandon(p);
		return -1;
	}
	return publish_end(p, e);
}
