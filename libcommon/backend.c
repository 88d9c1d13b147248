/* Finding a backend by name; the CUDA one is a shared object, which is loaded here. */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backend.h"
#include "base/memory.h"

/* beside the programs: PREFIX/bin and PREFIX/lib, build/gcc/bin and build/gcc/lib */
#define CUDA_OBJECT "../lib/lora-tools/liblora-cuda.so"

/* LORA_CUDA names another object: the stand-in of the tests. */
static int cuda_path(char path[PATH_MAX], struct error *e)
{
	const char *set = getenv("LORA_CUDA"), *named = set && *set ? set : NULL;
	char program[PATH_MAX];
	size_t length;
	ssize_t n = named ? 0 : readlink("/proc/self/exe", program, sizeof(program) - 1);
	char *slash;

	if (n < 0)
		return fail(e, EXIT_MEMORY, "device cuda: /proc/self/exe cannot be read, so "
			    CUDA_OBJECT " cannot be found; mount /proc");
	program[n] = 0;
	slash = strrchr(program, '/');
	length = named ? text_add(path, PATH_MAX, 0, "%s", named) :
		 text_add(path, PATH_MAX, 0, "%.*s/" CUDA_OBJECT, slash ? (int)(slash - program) : 0, program);
	return length < PATH_MAX - 1 ? 0 : fail(e, EXIT_MEMORY,
						"device cuda: the path of its shared object is too long");
}

static const struct backend *load_cuda(struct error *e)
{
	const struct backend *be;
	const size_t *bytes;
	char path[PATH_MAX];
	void *object;

	if (cuda_path(path, e) < 0)
		return NULL;
	object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!object) {
		fail(e, EXIT_MEMORY, "device cuda: %s; 'make cuda' builds it where the CUDA toolkit is, "
				     "and it needs cuBLAS 13 and a driver; use --device cpu", dlerror());
		return NULL;
	}
	be = dlsym(object, "cuda_backend");
	bytes = dlsym(object, "cuda_backend_bytes");
	if (be && bytes && *bytes == sizeof(*be))
		return be;
	dlclose(object);
	fail(e, EXIT_MEMORY, "device cuda: %s belongs to another version of this program; build both again", path);
	return NULL;
}

const struct backend *backend_find(const char *name, struct error *e)
{
	if (!strcmp(name, cpu_backend.name))
		return &cpu_backend;
	if (!strcmp(name, "cuda"))
		return load_cuda(e);
	fail(e, EXIT_USAGE, "device '%s' is not known; choose cpu or cuda", name);
	return NULL;
}
