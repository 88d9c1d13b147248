/* Writing a merged diffusers folder: under a temporary name, then renamed. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "../base/memory.h"
#include "../base/retry.h"
#include "../base/text.h"
#include "internal.h"

#define MAX_DEPTH 16

static int io_failure(struct error *e, const char *path, const char *doing)
{
	return fail(e, EXIT_IO, "%s: %s: %s", path, doing, strerror(errno));
}

/* ---- copying ---- */

static int copy_file(const char *from, const char *to, struct error *e)
{
	enum { ROOM = 1 << 20 };
	int fd = RETRY(open(from, O_RDONLY | O_CLOEXEC)), status = 0;
	struct publish *out = fd < 0 ? NULL : publish_begin(to, true, e);
	char *bytes = xmalloc(ROOM);
	ssize_t n = 0;

	if (fd < 0)
		status = io_failure(e, from, "opening");
	else if (!out)
		status = -1;
	while (!status && (n = RETRY(read(fd, bytes, ROOM))) > 0)
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

/* Is it a file of weights?  One that was not read is not copied: it would look merged and not be. */
static bool is_weights(const char *name)
{
	static const char *const kinds[] = {
		".safetensors", ".bin",	 ".ckpt",      ".pt", ".pth",  ".msgpack",
		".h5",		".onnx", ".onnx_data", ".pb", ".gguf",
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (text_ends(name, kinds[i]))
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
	if (depth && mkdir(to, 0777))
		return io_failure(e, to, "making the folder");
	n = RETRY(scandir(from, &entry, NULL, by_name));
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

/* ---- the folder ---- */

int merge_folder(struct merge *m, struct error *e)
{
	struct publish_folder *out = publish_folder_begin(m->options->out, e);

	if (!out)
		return -1;
	if (copy_tree(m, model_files_path(m->files), publish_folder_path(out), "", 0, e) == 0)
		return publish_folder_end(out, e);
	publish_folder_abandon(out);
	return -1;
}
