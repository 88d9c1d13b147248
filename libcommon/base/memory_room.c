/* What /proc, control groups and ulimit say about memory. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "memory.h"
#include "retry.h"
#include "memory_room.h"

/* Addresses that take no memory: thread stacks, arenas of malloc(), records of a tape. */
#define ADDRESSES ((size_t)256 << 20)

/* Malloced; NULL: it cannot be read. */
static char *read_text(const char *path)
{
	const int fd = RETRY(open(path, O_RDONLY | O_CLOEXEC));
	struct buffer text = { 0 };
	char part[4096];
	ssize_t got = -1;

	while (fd >= 0 && (got = RETRY(read(fd, part, sizeof(part)))) > 0)
		buffer_add(&text, part, (size_t)got);
	if (fd >= 0)
		close(fd);
	if (!got && text.len)
		return buffer_steal(&text);
	buffer_free(&text);
	return NULL;
}

/* The number behind a word at the start of a line ("MemAvailable:", "total_active_file"), in its own unit; an empty
 * word: the file's first.  false: there is none, or "max". */
static bool read_number(const char *path, const char *word, size_t *number)
{
	char *text = read_text(path), *line;
	bool found = false;

	for (line = text; line && !found; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
		found = !strncmp(line, word, strlen(word)) && sscanf(line + strlen(word), " %zu", number) == 1;
	free(text);
	return found;
}

/* ---- control groups ---- */

/* The files of one version; paths are those of the usual mounts. */
static const struct version {
	const char *mount, *limit[2], *usage, *cache[2];
} versions[] = {
	{ "/sys/fs/cgroup", { "memory.max", "memory.high" }, "memory.current", { "inactive_file", "active_file" } },
	{ "/sys/fs/cgroup/memory", { "memory.limit_in_bytes" }, "memory.usage_in_bytes",
	  { "total_inactive_file", "total_active_file" } },
};

static bool group_number(const char *folder, const char *file, const char *word, size_t *number)
{
	char *path = xprintf("%s/%s", folder, file);
	const bool found = read_number(path, word, number);

	free(path);
	return found;
}

/* What one group leaves: its limit less what is used, where pages of files can be given up. */
static size_t group_room(const struct version *v, const char *folder)
{
	size_t limit = SIZE_MAX, used = 0, bytes;
	int i;

	for (i = 0; i < 2 && v->limit[i]; i++)
		if (group_number(folder, v->limit[i], "", &bytes) && bytes < limit)
			limit = bytes;
	if (limit == SIZE_MAX || !group_number(folder, v->usage, "", &used))
		return limit;
	for (i = 0; i < 2; i++)
		if (group_number(folder, "memory.stat", v->cache[i], &bytes))
			used -= bytes < used ? bytes : used;
	return used < limit ? limit - used : 0;
}

/* The least of a group and those around it.  Inside a container a path may be the host's; its own group is at the mount
 * then, which is always asked. */
static size_t groups_room(const char *root, const struct version *v, const char *group)
{
	char *folder = xprintf("%s%s%s", root, v->mount, group), *end = folder + strlen(folder);
	char *const least = folder + strlen(root) + strlen(v->mount);
	size_t room = SIZE_MAX;

	for (;;) {
		const size_t here = group_room(v, folder);
		room = here < room ? here : room;
		if (end <= least)
			break;
		while (end > least && *--end != '/')
			;
		*end = 0;
	}
	free(folder);
	return room;
}

/* Lines are "4:memory:/a/b"; version 2 has "0::/a/b". */
static size_t control_room(const char *root)
{
	char *path = xprintf("%s/proc/self/cgroup", root), *text = read_text(path), *rest = NULL, *line;
	size_t room = SIZE_MAX;

	for (line = text ? strtok_r(text, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest)) {
		char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;
		size_t here;

		if (!group || (group > names + 1 && !strstr(names, "memory")))
			continue;
		here = groups_room(root, &versions[group > names + 1], group + 1);
		room = here < room ? here : room;
	}
	free(text);
	free(path);
	return room;
}

/* ---- ulimit ---- */

static size_t limit_room(int resource, size_t used, size_t apart)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return SIZE_MAX;
	return limit.rlim_cur > used + apart ? limit.rlim_cur - used - apart : 0;
}

static size_t ulimit_room(void)
{
	const size_t page = sysconf(_SC_PAGESIZE);
	size_t pages[6] = { 0 }, address, data;
	char *text = read_text("/proc/self/statm");

	if (!text || sscanf(text, "%zu %zu %zu %zu %zu %zu", &pages[0], &pages[1], &pages[2], &pages[3], &pages[4],
			    &pages[5]) != 6)
		pages[0] = 0;
	free(text);
	address = limit_room(RLIMIT_AS, pages[0] * page, ADDRESSES);
	data = limit_room(RLIMIT_DATA, pages[5] * page, ADDRESSES);
	return address < data ? address : data;
}

/* ---- all of it ---- */

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

size_t memory_room_below(const char *root, int processes)
{
	char *path = xprintf("%s/proc/meminfo", root);
	size_t kib, room = control_room(root);

	if (read_number(path, "MemAvailable:", &kib))
		room = smaller(kib * 1024, room);
	free(path);
	if (room != SIZE_MAX)
		room /= processes;
	room = smaller(room, ulimit_room());
	if (room == SIZE_MAX)
		return 0;
	return room > 16 ? room - room / 16 : 1;
}

size_t memory_room(int processes)
{
	return memory_room_below("", processes);
}
