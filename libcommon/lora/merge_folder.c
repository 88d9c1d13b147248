/* A diffusers folder with its weights merged: built beside its place, then renamed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/memory.h"
#include "merge_internal.h"

#define MAX_DEPTH 16

static int io_failure(struct error *e, const char *path, const char *doing)
{
	return fail(e, EXIT_IO, "%s: %s: %s", path, doing, strerror(errno));
}

/* ---- removing what was not finished ---- */

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *place)
{
	return remove(path);
}

static void remove_tree(const char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Folders of a merge that was killed: PREFIX<pid>.tmp of a process that is gone. */
static void remove_stale(const char *parent, const char *prefix)
{
	DIR *d = opendir(parent);
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		size_t n = strlen(prefix);
		char *end, *path;
		long pid;

		if (strncmp(entry->d_name, prefix, n))
			continue;
		pid = strtol(entry->d_name + n, &end, 10);
		if (pid <= 0 || strcmp(end, ".tmp") || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
			continue;
		path = path_join(parent, entry->d_name);
		remove_tree(path);
		free(path);
	}
	if (d)
		closedir(d);
}

/* ---- copying ---- */

static int copy_file(const char *from, const char *to, struct error *e)
{
	enum { ROOM = 1 << 20 };
	int fd = open(from, O_RDONLY | O_CLOEXEC), status = 0;
	struct publish *out = fd < 0 ? NULL : publish_begin(to, true, e);
	char *bytes = xmalloc(ROOM);
	ssize_t n = 0;

	if (fd < 0)
		status = io_failure(e, from, "opening");
	else if (!out)
		status = -1;
	while (!status && ((n = read(fd, bytes, ROOM)) > 0 || (n < 0 && errno == EINTR)))
		if (n > 0)
			status = publish_write(out, bytes, n, e);
	if (!status && n < 0)
		status = io_failure(e, from, "reading");
	free(bytes);
	if (fd >= 0)
		close(fd);
	if (!status)
		return publish_end(out, e);
	publish_abandon(out);
	return -1;
}

static bool ends(const char *name, const char *end)
{
	size_t n = strlen(name), k = strlen(end);

	return n >= k && strcmp(name + n - k, end) == 0;
}

/* Weights in forms that were not read stay behind: a copy of them would look merged and not be. */
static bool is_weights(const char *name)
{
	static const char *const kinds[] = {
		".safetensors", ".bin",	 ".ckpt",      ".pt", ".pth",  ".msgpack",
		".h5",		".onnx", ".onnx_data", ".pb", ".gguf",
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (ends(name, kinds[i]))
			return true;
	return false;
}

/* The file of the model at this path below its folder; -1: none. */
static long model_file(const struct merge *m, const char *relative)
{
	for (size_t i = 0; i < source_files(m->files); i++)
		if (strcmp(source_file_path(m->files, i), relative) == 0)
			return (long)i;
	return -1;
}

static int copy_entry(struct merge *m, const char *from, const char *to, const char *relative, struct error *e)
{
	long file = model_file(m, relative);

	if (file >= 0)
		return merge_file(m, file, to, e);
	if (!is_weights(relative))
		return copy_file(from, to, e);
	note("%s: left out, the model was not read from it", from);
	return 0;
}

static int sync_folder(const char *path, struct error *e)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), status = 0;

	if (fd < 0)
		return io_failure(e, path, "opening");
	if (fsync(fd) && errno != EINVAL && errno != EROFS)
		status = io_failure(e, path, "fsync");
	close(fd);
	return status;
}

static int copy_tree(struct merge *m, const char *from, const char *to, const char *relative, int depth,
		     struct error *e);

static int copy_named(struct merge *m, const char *from, const char *to, const char *relative, const char *name,
		      int depth, struct error *e)
{
	char *source = path_join(from, name), *target = path_join(to, name);
	char *below = *relative ? path_join(relative, name) : xstrdup(name);
	struct stat st;
	int status = 0;

	if (stat(source, &st))
		status = io_failure(e, source, "looking at it");
	else if (S_ISDIR(st.st_mode))
		status = copy_tree(m, source, target, below, depth + 1, e);
	else if (S_ISREG(st.st_mode))
		status = copy_entry(m, source, target, below, e);
	free(source);
	free(target);
	free(below);
	return status;
}

/* In byte order, so that messages and reports do not follow the file system's. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int copy_tree(struct merge *m, const char *from, const char *to, const char *relative, int depth,
		     struct error *e)
{
	struct dirent **entry;
	int n, status = 0;

	if (depth > MAX_DEPTH)
		return fail(e, EXIT_INPUT, "%s: more than %d folders deep; this is no model", from, MAX_DEPTH);
	if (mkdir(to, 0777))
		return io_failure(e, to, "making the folder");
	n = scandir(from, &entry, NULL, by_name);
	if (n < 0)
		return io_failure(e, from, "reading the folder");
	for (int i = 0; i < n; i++) {
		if (!status && *entry[i]->d_name != '.')
			status = copy_named(m, from, to, relative, entry[i]->d_name, depth, e);
		free(entry[i]);
	}
	free(entry);
	return status ? status : sync_folder(to, e);
}

/* ---- the whole ---- */

/* The folder that OUT stands in, and its last part. */
static void split(const char *out, char **parent, char **name)
{
	char *path = xstrdup(out), *slash;
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		path[--n] = 0;
	slash = strrchr(path, '/');
	*name = xstrdup(slash ? slash + 1 : path);
	*parent = !slash ? xstrdup(".") : slash == path ? xstrdup("/") : xstrndup(path, slash - path);
	free(path);
}

/* Nothing there, or an empty folder. */
static bool is_free(const char *out)
{
	DIR *d = opendir(out);
	int entries = 0;

	if (!d)
		return errno == ENOENT;
	while (readdir(d))
		entries++;
	closedir(d);
	return entries <= 2;            /* "." and ".." */
}

static int publish_folder(const char *temp, const char *out, const char *parent, struct error *e)
{
	if (!rename(temp, out))
		return sync_folder(parent, e);
	if (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR)
		return fail(e, EXIT_USAGE, "%s: exists; remove it or name another folder", out);
	return io_failure(e, out, "renaming the finished folder");
}

int merge_folder(struct merge *m, struct error *e)
{
	const char *out = m->options->out;
	char *parent, *name, *prefix, *temp;
	int status;

	split(out, &parent, &name);
	prefix = xprintf(".%.220s.", name);
	temp = xprintf("%s/%s%ld.tmp", parent, prefix, (long)getpid());
	if (!is_free(out))
		status = fail(e, EXIT_USAGE, "%s: exists; remove it or name another folder", out);
	else
		status = make_folders(parent, e);
	if (!status) {
		remove_stale(parent, prefix);
		status = copy_tree(m, model_files_path(m->files), temp, "", 0, e);
		if (!status)
			status = publish_folder(temp, out, parent, e);
		if (status)
			remove_tree(temp);
	}
	free(parent);
	free(name);
	free(prefix);
	free(temp);
	return status;
}
