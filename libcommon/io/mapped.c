/* Files mapped for reading, with a handler for SIGBUS, which comes where a mapped file was cut. */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "../base/error.h"
#include "../base/memory.h"
#include "mapped.h"

struct mapping { char *start; size_t bytes; const char *path; struct mapping *next; };

/* A handler can reach nothing but this.  Files are opened and closed by one thread. */
static struct mapping *mappings;

/* Pages behind a file's end.  A fault elsewhere happens again under the default action, as it would have. */
static void on_bus_error(int sig, siginfo_t *info, void *context)
{
	const char *at = info->si_addr;

	for (struct mapping *m = mappings; m; m = m->next)
		if (at >= m->start && at < m->start + m->bytes)
			die(EXIT_INPUT, "%s: was cut while it was read; "
					"write to another name and rename it, then run again", m->path);
	signal(sig, SIG_DFL);
}

void *mapped_open(int fd, size_t bytes, const char *path)
{
	struct sigaction action = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO };
	void *map = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
	struct mapping *m;

	if (map == MAP_FAILED)
		return map;
	sigaction(SIGBUS, &action, NULL);
	m = xmalloc(sizeof(*m));
	*m = (struct mapping){ map, bytes, path, mappings };
	mappings = m;
	return map;
}

void mapped_close(void *map, size_t bytes)
{
	struct mapping **at = &mappings, *m;

	while (*at && (*at)->start != map)
		at = &(*at)->next;
	if ((m = *at)) {
		*at = m->next;
		free(m);
	}
	munmap(map, bytes);
}
