#include <string.h>
#include "backend.h"

const struct backend *backend_find(const char *name, struct error *e)
{
	if (!strcmp(name, cpu_backend.name))
		return &cpu_backend;
	fail(e, EXIT_USAGE, "there is no device '%s'; this program has: cpu", name);
	return NULL;
}
