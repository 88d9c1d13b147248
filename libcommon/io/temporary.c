/* Names of unfinished files and folders, their lock, and the removal of those whose writer is gone. */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include "../base/memory.h"
#include "../base/retry.h"
#include "publish.h"
#include "temporary.h"

void temporary_target(const char *name, char **target, char **folder)
{
	char *real = realpath(name, NULL), *slash;

	*target = real ? real : xstrdup(name);
	slash = strrchr(*target, '/');
	if (!slash)
		*folder = xstrdup(".");
	else
		*folder = xstrndup(*target, slash == *target ? 1 : (size_t)(slash - *target));
}

/* A long name is cut so that the whole stays within 255 bytes. */
char *temporary_start(const char *target)
{
	const char *slash = strrchr(target, '/');

	return xprintf("%.220s.", slash ? slash + 1 : target);
}

/* The process number in .START...PID.tmp; 0 when this is another file. */
static long owner_of(const char *file, const char *start)
{
	size_t n = strlen(file), digits;
	long pid;

	if (file[0] != '.' || strncmp(file + 1, start, strlen(start)) || n < 6 || strcmp(file + n - 4, ".tmp"))
		return 0;
	for (digits = n -= 4; digits && file[digits - 1] >= '0' && file[digits - 1] <= '9'; digits--)
		;
	if (digits < strlen(start) + 1 || file[digits - 1] != '.' || file[digits] == '0')
		return 0;
	errno = 0;
	pid = strtol(file + digits, NULL, 10);
	return errno || pid <= 0 ? 0 : pid;
}

/* A killed process keeps its number until its parent waits for it: for good in a container whose first process never
 * waits. */
static bool is_dead_already(long pid)
{
	char path[40];
	struct buffer stat = { 0 };
	const char *state;
	struct error ignored;
	bool dead;

	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	/* the last ')' ends the process's name, which may hold any character */
	state = read_file(path, 4096, &stat, &ignored) == 0 ? strrchr(stat.data, ')') : NULL;
	dead = state && (!strncmp(state, ") Z", 3) || !strncmp(state, ") X", 3));
	buffer_free(&stat);
	return dead;
}

static bool is_running(long pid)
{
	return pid != getpid() && (kill((pid_t)pid, 0) == 0 || errno != ESRCH) && !is_dead_already(pid);
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *place)
{
	return remove(path);
}

void temporary_remove(const char *path)
{
	if (unlink(path) && (errno == EISDIR || errno == EPERM))
		nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

long temporary_owner(const char *file, const char *start)
{
	const long pid = owner_of(file, start);

	return pid && strspn(file + 1 + strlen(start), "0123456789") == strlen(file) - strlen(start) - 5 ? pid : 0;
}

int temporary_take(const char *path, long pid)
{
	const int fd = is_running(pid) ? -1 : RETRY(open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));

	if (fd < 0 || RETRY(flock(fd, LOCK_SH | LOCK_NB)) == 0 || errno != EWOULDBLOCK)
		return fd;
	close(fd);
	return -1;
}

/* Removes it under its lock, so that a writer that has just made it sees that it was taken.  True: somebody else holds
 * the lock. */
static bool remove_if_abandoned(const char *path, long pid)
{
	int fd = RETRY(open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
	const bool locked = fd >= 0 && RETRY(flock(fd, LOCK_EX | LOCK_NB)) < 0 && errno == EWOULDBLOCK;

	if (!locked && (fd >= 0 || errno == EACCES) && !is_running(pid))
		temporary_remove(path);
	if (fd >= 0)
		close(fd);
	return locked;
}

/* True: somebody holds the lock of one that is named .START and a number alone. */
static bool clean(const char *folder, const char *start)
{
	bool locked = false;
	DIR *d = open_folder(folder);
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		const long pid = owner_of(entry->d_name, start);
		char *path = path_join(folder, entry->d_name);

		if (pid && remove_if_abandoned(path, pid))
			locked |= temporary_owner(entry->d_name, start) != 0;
		free(path);
	}
	if (d)
		closedir(d);
	return locked;
}

void temporaries_clean(const char *folder, const char *start)
{
	clean(folder, start);
}

char *temporary_beside(const char *folder, const char *target, bool *others)
{
	char *start = temporary_start(target), *name = xprintf(".%s%ld.tmp", start, (long)getpid());
	char *path = path_join(folder, name);

	*others = clean(folder, start);
	free(start);
	free(name);
	return path;
}

bool temporary_lock(int fd, const char *path)
{
	struct stat mine, there;

	if (RETRY(flock(fd, LOCK_EX)))
		return true;            /* where there are no locks, the process number has to do */
	return fstat(fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_dev == there.st_dev &&
		mine.st_ino == there.st_ino;
}
