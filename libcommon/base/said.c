/* The file of notes that the programs of one launch share, so that each note is printed once. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "memory.h"
#include "retry.h"
#include "said.h"

enum { CAP = 1 << 20 };         /* bytes read of the file; a note beyond them may be printed twice */

static struct {
	char *text;             /* "\n" and the lines that were there; NULL: nobody asked */
	int fd;
} said;

static const char heading[] = "\n# lora-tools: what was said in one launch\n";

static bool is_line(const char *at, size_t n)
{
	return at[-1] == '\n' && at[n] == '\n';
}

static bool said_before(const char *line)
{
	const size_t n = strlen(line);
	const char *at = said.text;
	char *add;

	while (at && n && (at = strstr(at, line))) {
		if (is_line(at, n))
			return true;
		at++;
	}
	if (!said.text)
		return false;
	add = xprintf("%s\n", line);
	if (write_all(said.fd, add, n + 1) < 0)
		errno = 0;      /* then it is said again */
	free(add);
	return false;
}

int said_open(const char *path, struct error *e)
{
	struct buffer text = { 0 };
	char part[4096];
	ssize_t got;

	said.fd = RETRY(open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666));
	if (said.fd < 0)
		return fail(e, EXIT_IO, "--said: %s: %s; name a file that can be written", path, strerror(errno));
	buffer_adds(&text, "\n");
	while (text.len < CAP && (got = RETRY(read(said.fd, part, sizeof(part)))) > 0)
		buffer_add(&text, part, (size_t)got);
	if (text.len == 1 && write_all(said.fd, heading + 1, strlen(heading + 1)) == 0)
		buffer_adds(&text, heading + 1);
	if (strncmp(text.data, heading, strlen(heading))) {
		buffer_free(&text);
		return fail(e, EXIT_USAGE, "--said: %s: is another file than --said writes; nothing was changed; "
					   "name an empty one", path);
	}
	free(said.text);
	said.text = buffer_steal(&text);
	notes_kept_by(said_before);
	return 0;
}
