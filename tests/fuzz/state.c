/* A state's file, sealed anew so that what is behind the seal is seen: what loads leaves an optimizer with finite
 * counts, what does not leaves it as it was. */
#include "fuzz.h"
#include "../../libcommon/io/safetensors.h"
#include "../../libcommon/train/state.h"

enum { COUNT = 6, CURVES = 3 };

struct memory { float value[COUNT], slot[2][COUNT]; double curves[CURVES]; };

static void host_copy(struct device *d, void *to, const void *from, size_t n) { memcpy(to, from, n); }

/* The device is this process' memory. */
static const struct backend host = { .upload = host_copy, .download = host_copy };

/* The input's tensors and words without its seal, which is made here. */
static int seal(const char *path, const struct safetensors *s, struct error *e)
{
	struct safetensors_out *t = xcalloc(s->count + 1, sizeof(*t));
	struct metadata *words = xcalloc(s->metadata_count + 1, sizeof(*words));
	size_t n = 0;
	int status;

	for (size_t i = 0; i < s->count; i++) {
		t[i] = (struct safetensors_out){ .name = s->tensor[i].name, .dtype = s->tensor[i].dtype,
						 .dims = s->tensor[i].dims,
						 .data = safetensors_bytes(s, &s->tensor[i]) };
		memcpy(t[i].shape, s->tensor[i].shape, sizeof(t[i].shape));
	}
	for (size_t i = 0; i < s->metadata_count; i++)
		if (strcmp(s->metadata[i].key, "sha256"))
			words[n++] = s->metadata[i];
	status = safetensors_save_sealed(path, t, s->count, words, n, e);
	free(t);
	free(words);
	return status;
}

static void load(const char *path)
{
	struct memory m = { .value = { 1, 2, 3, 4, 5, 6 } }, before;
	struct tensor tensor = { .data = m.value };
	struct parameter p = { .tensor = &tensor, .name = "lora_0.weight", .count = COUNT,
			       .slot = { { m.slot[0], DTYPE_F32, COUNT }, { m.slot[1], DTYPE_F32, COUNT } } };
	struct optimizer o = { .parameter = &p, .count = 1, .be = &host, .settings = { .name = "AdamW" } };
	const struct state_more more = { NULL, m.curves, CURVES };
	struct error e = { 0 };
	long step = -1;

	memcpy(&before, &m, sizeof(m));
	if (state_load(path, &o, &more, &(struct state_like){ NULL, NULL }, &step, &e) < 0) {
		HOLDS(e.code == EXIT_INPUT || e.code == EXIT_USAGE);
		HOLDS(!memcmp(&before, &m, sizeof(m)) && p.steps == 0);
	} else {
		HOLDS(step >= 0 && p.steps >= 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static char folder[] = "/dev/shm/fuzz-state-XXXXXX";
	static char path[64];
	struct error e = { 0 };
	struct safetensors *s;

	if (!*path) {
		HOLDS(mkdtemp(folder));
		snprintf(path, sizeof(path), "%s/state.safetensors", folder);
	}
	s = safetensors_parse("input", bytes, n, &e);
	if (s && seal(path, s, &e) == 0)
		load(path);
	safetensors_close(s);
	return 0;
}
