/* Finding a backend by name; the CUDA one is a shared object, which is loaded here. */
#include <dlfcn.h>
#include <limits.h>
#include <string.h>
#include "backend.h"
#include "base/beside.h"

#define CUDA_OBJECT "../lib/lora-tools/liblora-cuda.so"

static const struct backend *load_cuda(struct error *e)
{
	const struct backend *be;
	const size_t *bytes;
	char path[PATH_MAX];
	void *object;

	if (beside_program(path, "LORA_CUDA", CUDA_OBJECT, e) < 0) {
		fail_at(e, "device cuda");
		return NULL;
	}
	object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!object) {
		fail(e, EXIT_MEMORY, "device cuda: %s; pip's lora-tools[cuda13] or [cuda12] and Debian's "
				     "lora-tools-cuda bring it, or 'make cuda' builds it; it needs cuBLAS and a "
				     "driver (lora(7)); use --device cpu", dlerror());
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
