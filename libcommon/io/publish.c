/* Writing: a temporary beside the target, made durable, renamed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "claims.h"
#include "publish.h"

struct publish {
	int fd;
	char *name;             /* as the caller says it, for messages */
	char *target, *temp;    /* temp NULL: written in place (a pipe, a device, standard output) */
	char *folder;
	uint64_t written;
};

static int io_error(struct error *e, const char *path, const char *doing)
{
	const char *what = strerror(errno), *todo = "check the path and its permissions";

	if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
		todo = "free some space and run again";
	return fail(e, EXIT_IO, "%s: %s: %s; %s", path, doing, what, todo);
}

static void release(struct publish *p)
{
	free(p->name);
	free(p->target);
	free(p->temp);
	free(p->folder);
	free(p);
}

/* ---- temporaries ---- */

/* ".NAME." of the temporaries of one target; a long name is cut so that the whole stays within 255 bytes. */
static char *temp_prefix(const char *target)
{
	const char *slash = strrchr(target, '/');

	return xprintf(".%.220s.", slash ? slash + 1 : target);
}

/* The process number in PREFIX<pid>.tmp; 0 when this is another file. */
static long temp_owner(const char *file, const char *prefix)
{
	size_t n = strlen(prefix);
	char *end;
	long pid;

	if (strncmp(file, prefix, n) || file[n] < '1' || file[n] > '9')
		return 0;
	errno = 0;
	pid = strtol(file + n, &end, 10);
	return errno || strcmp(end, ".tmp") ? 0 : pid;
}

/* A killed process has its number until somebody waits for it; in a container whose first process never does, for good. */
static bool is_dead_already(long pid)
{
	char path[40], line[256] = "";
	const char *state;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(line, sizeof(line), f))
		*line = 0;
	fclose(f);
	state = strrchr(line, ')');             /* behind the program's name, which may hold anything */
	return state && (!strncmp(state, ") Z", 3) || !strncmp(state, ") X", 3));
}

/* A writer holds a lock on its temporary: in another container or on another machine its number means nothing here. */
static bool is_abandoned(const char *path, long pid)
{
	bool locked;
	int fd;

	if (pid != getpid() && (kill((pid_t)pid, 0) == 0 || errno != ESRCH) && !is_dead_already(pid))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return errno == EACCES;
	locked = flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
	close(fd);
	return !locked;
}

static void remove_stale(const char *folder, const char *prefix)
{
	DIR *d = opendir(folder);
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		long pid = temp_owner(entry->d_name, prefix);
		char *path;

		if (!pid)
			continue;
		path = path_join(folder, entry->d_name);
		if (is_abandoned(path, pid))
			unlink(path);
		free(path);
	}
	if (d)
		closedir(d);
}

/* The process number in .START....<pid>.tmp */
static long any_owner(const char *file, const char *start)
{
	size_t n = strlen(file);

	if (file[0] != '.' || strncmp(file + 1, start, strlen(start)) || n < 6)
		return 0;
	for (n -= 4; n && file[n - 1] >= '0' && file[n - 1] <= '9'; n--)
		;
	return n && file[n - 1] == '.' ? temp_owner(file + n, "") : 0;
}

void publish_clean(const char *folder, const char *start)
{
	DIR *d = opendir(folder);
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		long pid = any_owner(entry->d_name, start);
		char *path = path_join(folder, entry->d_name);

		if (pid && is_abandoned(path, pid))
			unlink(path);
		free(path);
	}
	if (d)
		closedir(d);
}

/* Mode 0666 lets the kernel apply the umask, which no thread can read without changing it. */
static int open_temp(struct publish *p, const struct stat *old, struct error *e)
{
	char *prefix = temp_prefix(p->target);

	remove_stale(p->folder, prefix);
	p->temp = xprintf("%s/%s%ld.tmp", p->folder, prefix, (long)getpid());
	free(prefix);
	p->fd = open(p->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (p->fd < 0 && errno == EEXIST)
		return fail(e, EXIT_IO, "%s: is being written by somebody else (%s); wait, or choose another name",
			    p->name, p->temp);
	if (p->fd < 0)
		return io_error(e, p->name, "creating a temporary file beside it");
	flock(p->fd, LOCK_EX | LOCK_NB);        /* where there are no locks, the process number has to do */
	if (old && fchmod(p->fd, old->st_mode & 0777)) {
		io_error(e, p->name, "keeping the file's mode");
		unlink(p->temp);
		close(p->fd);
		return -1;
	}
	return 0;
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
	p->fd = open(p->name, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (p->fd < 0)
		return io_error(e, p->name, "opening for writing");
	if (refuse_terminal(p, binary, e)) {
		close(p->fd);
		return -1;
	}
	return 0;
}

/* A symbolic link stays and what it points to is replaced. */
static void find_target(struct publish *p)
{
	char *real = realpath(p->name, NULL), *slash;

	p->target = real ? real : xstrdup(p->name);
	slash = strrchr(p->target, '/');
	if (!slash)
		p->folder = xstrdup(".");
	else
		p->folder = xstrndup(p->target, slash == p->target ? 1 : (size_t)(slash - p->target));
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
	find_target(p);
	return open_temp(p, exists ? &old : NULL, e);
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

int publish_write(struct publish *p, const void *data, size_t n, struct error *e)
{
	const char *at = data;

	while (n) {
		ssize_t done = write(p->fd, at, n < 1u << 30 ? n : 1u << 30);

		if (done < 0 && errno == EINTR)
			continue;
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

int publish_fd(struct publish *p)
{
	return p->fd;
}

/* Some file systems have no fsync for files or folders and say so; that is no failure. */
static int sync_fd(int fd)
{
	int rc;

	do
		rc = fsync(fd);
	while (rc && errno == EINTR);
	return rc && errno != EINVAL && errno != EROFS && errno != ENOTSUP && errno != EBADF ? -1 : 0;
}

static int sync_folder(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (fd < 0)
		return 0;       /* a folder that may be written but not read: the rename is done, only later on disk */
	rc = sync_fd(fd);
	close(fd);
	return rc;
}

/* On network disks only close tells that a write failed.  Standard output stays open, so a copy of it is closed. */
static int end_in_place(struct publish *p, struct error *e)
{
	int fd = p->fd == STDOUT_FILENO ? dup(p->fd) : p->fd;

	if (fd < 0 || (close(fd) && errno != EINTR))
		return io_error(e, spoken_name(p), "closing");
	return 0;
}

static int end_renamed(struct publish *p, struct error *e)
{
	int rc = sync_fd(p->fd) ? io_error(e, p->name, "making it durable") : 0;

	if (close(p->fd) && errno != EINTR && !rc)
		rc = io_error(e, p->name, "closing");
	if (!rc && rename(p->temp, p->target))
		rc = io_error(e, p->name, "renaming the finished temporary to it");
	if (rc)
		unlink(p->temp);
	else if (sync_folder(p->folder))
		rc = io_error(e, p->name, "making its name durable");
	return rc;
}

int publish_end(struct publish *p, struct error *e)
{
	int rc = p->temp ? end_renamed(p, e) : end_in_place(p, e);

	release(p);
	return rc;
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

/* ---- what killed writers left ---- */

struct leftovers { struct leftover { int fd; char *path; } *one; size_t count, capacity; };

static void take_leftover(struct leftovers *l, const char *path, long pid)
{
	const int fd = is_abandoned(path, pid) ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;

	if (fd < 0)
		return;
	flock(fd, LOCK_SH | LOCK_NB);           /* who looks for abandoned ones now sees that it is in use */
	GROW(l->one, l->count, l->capacity);
	l->one[l->count++] = (struct leftover){ fd, xstrdup(path) };
}

struct leftovers *publish_leftovers(const char *path)
{
	struct leftovers *l = xcalloc(1, sizeof(*l));
	struct publish p = { .name = (char *)path };
	struct dirent *entry;
	char *prefix;
	DIR *d;

	find_target(&p);
	prefix = temp_prefix(p.target);
	d = opendir(p.folder);
	while (d && (entry = readdir(d))) {
		const long pid = temp_owner(entry->d_name, prefix);
		char *file = pid ? path_join(p.folder, entry->d_name) : NULL;

		if (file)
			take_leftover(l, file, pid);
		free(file);
	}
	if (d)
		closedir(d);
	free(prefix);
	free(p.target);
	free(p.folder);
	return l;
}

int leftover_at(const struct leftovers *l, size_t i, const char **path)
{
	if (i >= l->count)
		return -1;
	*path = l->one[i].path;
	return fcntl(l->one[i].fd, F_DUPFD_CLOEXEC, 3);
}

void leftovers_remove(struct leftovers *l)
{
	for (size_t i = 0; l && i < l->count; i++)
		unlink(l->one[i].path);
}

void leftovers_free(struct leftovers *l)
{
	for (size_t i = 0; l && i < l->count; i++) {
		close(l->one[i].fd);
		free(l->one[i].path);
	}
	if (l)
		free(l->one);
	free(l);
}
