/* Temporaries that killed writers of a target left behind, locked while they are listed. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include "../base/retry.h"
#include "publish.h"
#include "temporary.h"

struct leftovers { struct leftover { int fd; char *path; } *one; size_t count, capacity; };

static void take(struct leftovers *l, char *path, long pid)
{
	const int fd = temporary_take(path, pid);

	if (fd < 0) {
		free(path);
		return;
	}
	GROW(l->one, l->count, l->capacity);
	l->one[l->count++] = (struct leftover){ fd, path };
}

struct leftovers *publish_leftovers(const char *path)
{
	struct leftovers *l = xcalloc(1, sizeof(*l));
	char *target, *folder, *start;
	struct dirent *entry;
	DIR *d;

	temporary_target(path, &target, &folder);
	start = temporary_start(target);
	d = open_folder(folder);
	while (d && (entry = readdir(d))) {
		const long pid = temporary_owner(entry->d_name, start);

		if (pid)
			take(l, path_join(folder, entry->d_name), pid);
	}
	if (d)
		closedir(d);
	free(start);
	free(target);
	free(folder);
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
