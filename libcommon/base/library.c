/* Opens a shared library at run time and looks up its functions. */
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include "library.h"

bool library_open(const char *file, const struct library_function *functions, size_t count, void *table)
{
	void *object;

	errno = 0;
	object = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	for (size_t i = 0; object && i < count; i++) {
		void *f = dlsym(object, functions[i].name);

		if (!f)
			return false;
		memcpy((char *)table + functions[i].at, &f, sizeof(f));
	}
	return object != NULL;
}
