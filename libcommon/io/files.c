/* The rest of publish.h: reading whole files, folders, paths, and the three standard descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/retry.h"
#include "publish.h"

int open_input(const char *path, struct error *e)
{
	int fd = RETRY(open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY));

	if (fd < 0 && exit_of_errno(errno) == EXIT_INPUT)
		return fail(e, EXIT_INPUT, "%s: %s; check the path", path, strerror(errno));
	if (fd < 0)
		return fail(e, exit_of_errno(errno), "%s: opening: %s; check its permissions", path, strerror(errno));
	return fd;
}

/* A name that is too long counts as a file that does not exist.  A picture's name may have the greatest length, and
 * ".caption" is longer than ".png". */
int path_stat(const char *path, struct stat *st, struct error *e)
{
	if (!stat(path, st))
		return 1;
	if (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG)
		return 0;
	return fail(e, exit_of_errno(errno), "%s: looking at it: %s; check the path and its permissions", path,
		    strerror(errno));
}

int path_is_there(const char *path, struct error *e)
{
	struct stat st;

	return path_stat(path, &st, e);
}

int path_is_folder(const char *path, struct error *e)
{
	struct stat st;
	int there = path_stat(path, &st, e);

	return there > 0 ? S_ISDIR(st.st_mode) : there;
}

/* The next bytes, 0 at the end, -1. */
static ssize_t read_some(int fd, const char *path, void *to, size_t n, struct error *e)
{
	const ssize_t got = RETRY(read(fd, to, n));

	if (got < 0)
		fail(e, exit_of_errno(errno), "%s: reading: %s; a readable file is needed", path, strerror(errno));
	return got;
}

static int read_all(int fd, const char *path, size_t cap, struct buffer *out, struct error *e)
{
	char chunk[8192];
	ssize_t n;

	while ((n = read_some(fd, path, chunk, sizeof(chunk), e)) > 0) {
		if ((size_t)n > cap - out->len)
			return fail(e, EXIT_INPUT,
				    "%s: larger than the %zu bytes allowed for it; is it the right file?", path, cap);
		buffer_add(out, chunk, (size_t)n);
	}
	return (int)n;
}

int read_file(const char *path, size_t cap, struct buffer *out, struct error *e)
{
	int fd = open_input(path, e), rc;
	struct stat st;

	if (fd < 0)
		return -1;
	buffer_clear(out);
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size <= cap)
		buffer_room(out, (size_t)st.st_size);
	buffer_add(out, "", 0);         /* an empty file is an empty text, not NULL */
	rc = read_all(fd, path, cap, out, e);
	close(fd);
	return rc;
}

int read_head(const char *path, size_t n, struct buffer *out, struct error *e)
{
	int fd = open_input(path, e);
	char chunk[8192];
	ssize_t got = 1;

	if (fd < 0)
		return -1;
	buffer_clear(out);
	buffer_add(out, "", 0);
	while (got > 0 && out->len < n) {
		got = read_some(fd, path, chunk, n - out->len < sizeof(chunk) ? n - out->len : sizeof(chunk), e);
		if (got > 0)
			buffer_add(out, chunk, (size_t)got);
	}
	close(fd);
	return got < 0 ? -1 : 0;
}

static int make_folder(const char *path, struct error *e)
{
	struct stat st;
	int reason;

	if (!mkdir(path, 0777))
		return 0;
	reason = errno;
	if (!stat(path, &st) && S_ISDIR(st.st_mode))
		return 0;
	return fail(e, EXIT_IO, "%s: making this folder: %s; check the path and its permissions", path,
		    strerror(reason));
}

int make_folders(const char *path, struct error *e)
{
	char *part = xstrdup(path);
	int rc = 0;

	for (char *slash = part; !rc && (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		if (*part)
			rc = make_folder(part, e);
		*slash = '/';
	}
	if (!rc && *part)
		rc = make_folder(part, e);
	free(part);
	return rc;
}

char *existing_folder(const char *path)
{
	char *at = xstrdup(path && *path ? path : "."), *slash;

	while (access(at, F_OK) < 0 && (slash = strrchr(at, '/')) && slash != at)
		*slash = 0;
	if (access(at, F_OK) < 0) {
		const bool absolute = *at == '/';
		free(at);
		at = xstrdup(absolute ? "/" : ".");
	}
	return at;
}

int make_parents(const char *file, struct error *e)
{
	const char *slash = strrchr(file, '/');
	char *folder = slash ? xstrndup(file, (size_t)(slash - file)) : NULL;
	int rc = folder && *folder ? make_folders(folder, e) : 0;

	free(folder);
	return rc;
}

char *path_join(const char *folder, const char *name)
{
	size_t n = strlen(folder);

	return xprintf("%s%s%s", folder, n && folder[n - 1] != '/' ? "/" : "", name);
}

/* Standard output is opened for reading only: a tool that was given none fails when it writes data there, instead of
 * reporting success for bytes that nobody has. */
void claim_standard_streams(void)
{
	static const int mode[3] = { O_RDONLY, O_RDONLY, O_WRONLY };

	/* else a limit on the size of files (ulimit -f) kills, and the temporary stays */
	signal(SIGXFSZ, SIG_IGN);

	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
			continue;
		if (RETRY(open("/dev/null", mode[fd])) != fd)
			_exit(EXIT_IO);         /* no /dev/null, and no stream to say it on */
	}
}
