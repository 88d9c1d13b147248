/* Opens libarchive. */
#include <errno.h>
#include "../base/library.h"
#include "tar_library.h"

static const struct library_function functions[] = {
#define TAR_FUNCTION(name) { #name, offsetof(struct tar_library, name) },
	TAR_LIBRARY(TAR_FUNCTION)
};

const struct tar_library *tar_library(struct error *e)
{
	static struct tar_library library;
	static bool open;

	if (!open)
		open = library_open("libarchive.so.13", functions, sizeof(functions) / sizeof(*functions), &library);
	if (open)
		return &library;
	if (errno == ENOMEM)
		fail(e, EXIT_MEMORY, "no memory for opening libarchive.so.13");
	else
		fail(e, EXIT_OTHER, "tar streams are read and written through libarchive.so.13, which is not "
		     "installed; install libarchive13");
	return NULL;
}
