/* The rest of publish.h: reading whole files, folders, paths, and the three standard descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "publish.h"

int open_input(const char *path, struct error *e)
{
	int fd;

	do
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	while (fd < 0 && errno == EINTR);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG || errno == ELOOP))
		return fail(e, EXIT_INPUT, "%s: %s; check the path", path, strerror(errno));
	if (fd < 0)
		return fail(e, EXIT_IO, "%s: opening: %s; check its permissions", path, strerror(errno));
	return fd;
}

static int read_all(int fd, const char *path, size_t cap, struct buffer *out, struct error *e)
{
	char chunk[65536];

	for (;;) {
		ssize_t n = read(fd, chunk, sizeof(chunk));

		if (n == 0)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(e, errno == EISDIR ? EXIT_INPUT : EXIT_IO,
				    "%s: reading: %s; a readable file is needed", path, strerror(errno));
		if ((size_t)n > cap - out->len)
			return fail(e, EXIT_INPUT,
				    "%s: larger than the %zu bytes allowed for it; is it the right file?", path, cap);
		buffer_add(out, chunk, (size_t)n);
	}
}

int read_file(const char *path, size_t cap, struct buffer *out, struct error *e)
{
	int fd = open_input(path, e), rc;

	if (fd < 0)
		return -1;
	buffer_clear(out);
	buffer_add(out, "", 0);         /* an empty file is an empty text, not NULL */
	rc = read_all(fd, path, cap, out, e);
	close(fd);
	return rc;
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

	signal(SIGXFSZ, SIG_IGN);       /* else a limit on the size of files (ulimit -f) kills, and the temporary stays */

	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
			continue;
		if (open("/dev/null", mode[fd]) != fd)
			_exit(EXIT_IO);         /* no /dev/null, and no stream to say it on */
	}
}
