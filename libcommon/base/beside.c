/* Finding files from where the program is. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "beside.h"
#include "memory.h"

int beside_program(char *path, const char *variable, const char *relative, struct error *e)
{
	const char *set = getenv(variable), *named = set && *set ? set : NULL;
	char program[PATH_MAX];
	size_t length;
	ssize_t n = named ? 0 : readlink("/proc/self/exe", program, sizeof(program) - 1);
	char *slash;

	if (n < 0)
		return fail(e, EXIT_MEMORY, "/proc/self/exe cannot be read, so %s cannot be found; mount /proc",
			    relative);
	program[n] = 0;
	slash = strrchr(program, '/');
	length = named ? text_add(path, PATH_MAX, 0, "%s", named) :
		 text_add(path, PATH_MAX, 0, "%.*s/%s", slash ? (int)(slash - program) : 0, program, relative);
	return length < PATH_MAX - 1 ? 0 : fail(e, EXIT_MEMORY, "the path of %s is too long", relative);
}
