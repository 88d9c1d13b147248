/* Writing a folder: filled under a temporary name beside its target, under a lock, then renamed. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "../base/retry.h"
#include "publish.h"
#include "temporary.h"

struct publish_folder {
	char *target, *parent, *temp;
	int fd;                         /* of temp: it holds the lock */
};

static int io_failure(struct error *e, const char *path, const char *doing)
{
	return fail(e, EXIT_IO, "%s: %s: %s; check the path and its permissions", path, doing, strerror(errno));
}

/* The folder that the target stands in. */
static char *parent_of(const char *target)
{
	const char *slash = strrchr(target, '/');

	return !slash ? xstrdup(".") : xstrndup(target, slash == target ? 1 : (size_t)(slash - target));
}

/* Nothing there, or an empty folder. */
static bool is_free(const char *path)
{
	DIR *d = open_folder(path);
	int entries = 0;

	if (!d)
		return errno == ENOENT;
	while (readdir(d))
		entries++;
	closedir(d);
	return entries <= 2;            /* "." and ".." */
}

static int exists(const char *path, struct error *e)
{
	return fail(e, EXIT_USAGE, "%s: exists; remove it or name another folder", path);
}

static int make_temp(struct publish_folder *p, struct error *e)
{
	bool others;

	p->temp = temporary_beside(p->parent, p->target, &others);
	if (others)
		return fail(e, EXIT_IO, "%s: is being written by somebody else; wait, or name another folder",
			    p->target);
	do {
		if (mkdir(p->temp, 0777))
			return io_failure(e, p->temp, "making the folder");
		p->fd = RETRY(open(p->temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
		if (p->fd < 0 && errno != ENOENT)
			return io_failure(e, p->temp, "opening the folder");
	} while (p->fd < 0 || (!temporary_lock(p->fd, p->temp) && !close(p->fd)));
	return 0;
}

static void release(struct publish_folder *p)
{
	if (p->fd >= 0)
		close(p->fd);
	free(p->target);
	free(p->parent);
	free(p->temp);
	free(p);
}

struct publish_folder *publish_folder_begin(const char *path, struct error *e)
{
	struct publish_folder *p = xcalloc(1, sizeof(*p));
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	p->fd = -1;
	p->target = xstrndup(path, n);
	p->parent = parent_of(p->target);
	if ((is_free(path) ? 0 : exists(path, e)) || make_folders(p->parent, e) || make_temp(p, e)) {
		release(p);
		return NULL;
	}
	return p;
}

const char *publish_folder_path(const struct publish_folder *p)
{
	return p->temp;
}

int publish_folder_end(struct publish_folder *p, struct error *e)
{
	int status = sync_folder(p->temp, e);

	if (!status && rename(p->temp, p->target)) {
		if (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR)
			status = exists(p->target, e);
		else
			status = io_failure(e, p->target, "renaming the finished folder");
	}
	if (status)
		temporary_remove(p->temp);
	else
		status = sync_folder(p->parent, e);
	release(p);
	return status;
}

void publish_folder_abandon(struct publish_folder *p)
{
	if (!p)
		return;
	temporary_remove(p->temp);
	release(p);
}
