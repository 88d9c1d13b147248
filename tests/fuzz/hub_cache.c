/* The hub's cache, whose refs/main is the input: a model that is found is the one snapshot there is,
 * whatever the file says. */
#include <sys/stat.h>
#include "fuzz.h"
#include "../../libcommon/io/publish.h"
#include "../../libcommon/model/hub_cache.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static const char *const files[] = { "config.json", "diffusion_pytorch_model.safetensors" };

static void put(const char *path, const void *bytes, size_t n)
{
	FILE *f = fopen(path, "w");

	HOLDS(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

/* refs/main, malloced */
static char *make_cache(void)
{
	static char root[] = "/dev/shm/fuzz-hub-XXXXXX";
	struct error e;
	char *snapshot, *path;

	HOLDS(mkdtemp(root) && setenv("HF_HUB_CACHE", root, 1) == 0);
	snapshot = xprintf("%s/models--org--vae/snapshots/" COMMIT, root);
	path = xprintf("%s/models--org--vae/refs", root);
	HOLDS(make_folders(snapshot, &e) == 0 && make_folders(path, &e) == 0);
	free(path);
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		path = path_join(snapshot, files[i]);
		put(path, "", 0);
		free(path);
	}
	free(snapshot);
	return xprintf("%s/models--org--vae/refs/main", root);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static char *head;
	struct error e = { 0 };
	char *found, *id;
	int status;

	if (!head)
		head = make_cache();
	put(head, bytes, n);
	status = hub_find("org/vae", HUB_VAE, PARTS_ALL, &found, &e);
	HOLDS((status == 1) == (found != NULL) && status != 0);
	HOLDS(found ? strstr(found, "/snapshots/" COMMIT) && !strstr(found, "..") : e.code == EXIT_INPUT);
	free(found);
	id = xstrndup((const char *)bytes, strnlen((const char *)bytes, n));
	HOLDS(!hub_id(id) || (!strstr(id, "..") && strchr(id, '/') == strrchr(id, '/')));
	free(id);
	return 0;
}
