/*
 * write.c - a full-size SDXL in diffusers layout with random fp16 weights: write NAMES.tsv FOLDER
 *
 * write --empty NAMES.tsv FOLDER: headers alone; the weights are a hole of their size, which takes no room on the disk.
 * write --single NAMES.tsv FOLDER: one file, FOLDER/single.safetensors, under its names.
 *
 * NAMES.tsv is tests/golden/single-file/sdxl_names.tsv: the 2,515 tensors of the released file with shapes and
 * diffusers names.  Weights are uniform with variance 1/fan-in, gains 1, biases 0, so that numbers stay of ordinary
 * size through all layers.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/philox.h"
#include "../../libcommon/io/safetensors.h"

#define POOL (1 << 20)          /* random numbers, used over and over from a moving start */

static const struct { const char *component, *file; } files[] = {
	{ "unet", "unet/diffusion_pytorch_model.safetensors" },
	{ "text_encoder", "text_encoder/model.safetensors" },
	{ "text_encoder_2", "text_encoder_2/model.safetensors" },
	{ "vae", "vae/diffusion_pytorch_model.safetensors" },
	{ "single", "single.safetensors" },
};

struct names { struct safetensors_out *tensor; char **component; size_t count, capacity, component_capacity; };

static void add(struct names *n, const char *component, const char *name, int dims, const int64_t *shape)
{
	GROW(n->tensor, n->count, n->capacity);
	GROW(n->component, n->count, n->component_capacity);
	n->tensor[n->count] = (struct safetensors_out){ .name = xstrdup(name), .dtype = DTYPE_F16, .dims = dims };
	memcpy(n->tensor[n->count].shape, shape, dims * sizeof(*shape));
	n->component[n->count++] = xstrdup(component);
}

/* Three names, where the released file joins rows: three tensors of a third each. */
static void add_all(struct names *n, const char *component, char *name, int dims, int64_t *shape)
{
	char *one;

	if (strchr(name, ' '))
		shape[0] /= 3;
	while ((one = strsep(&name, " ")))
		add(n, component, one, dims, shape);
}

/* single: under the file's own names, as if of one component */
static void read_names(const char *path, struct names *n, bool single)
{
	FILE *f = fopen(path, "r");
	char line[1024];

	if (!f || !fgets(line, sizeof(line), f))
		die(EXIT_INPUT, "%s: cannot be read", path);
	while (fgets(line, sizeof(line), f)) {
		char *rest = line, *column[5], *p;
		int64_t shape[4];
		int i, dims = 0;
		for (i = 0; i < 5; i++)
			column[i] = strsep(&rest, "\t\n");
		if (!*column[2] || !*column[3])
			continue;       /* only in the single file */
		for (p = column[1]; *p; p += *p == 'x')
			shape[dims++] = strtol(p, &p, 10);
		if (strstr(column[4], "C x C to") && !single)
			dims = 2;
		add_all(n, single ? "single" : column[2], single ? column[0] : column[3], dims, shape);
	}
	fclose(f);
}

static void free_names(struct names *n)
{
	for (size_t i = 0; i < n->count; i++) {
		free((char *)n->tensor[i].name);
		free(n->component[i]);
	}
	free(n->tensor);
	free(n->component);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct safetensors_out *)a)->name, ((const struct safetensors_out *)b)->name);
}

static int write_tensor(struct publish *out, const struct safetensors_out *t, const float *pool, uint32_t *at,
			struct error *e)
{
	size_t n = 1, fan = 1, done, i;
	float scale, chunk[4096];
	uint16_t half[4096];

	for (i = 0; i < (size_t)t->dims; i++) {
		n *= t->shape[i];
		fan *= i ? t->shape[i] : 1;
	}
	scale = sqrtf(3.0f / fan);
	for (done = 0; done < n; done += i) {
		for (i = 0; i < 4096 && done + i < n; i++) {
			*at = (*at * 5 + 1) % POOL;
			chunk[i] = t->dims > 1 ? pool[*at] * scale : strstr(t->name, ".weight") ? 1 : 0;
		}
		from_float(half, DTYPE_F16, chunk, i);
		if (publish_write(out, half, i * 2, e) < 0)
			return -1;
	}
	return 0;
}

static int write_hole(const char *path, const struct buffer *header, const struct safetensors_out *t, size_t count,
		      struct error *e)
{
	size_t i, bytes = header->len;
	int k;

	for (i = 0; i < count; i++) {
		size_t n = sizeof(uint16_t);
		for (k = 0; k < t[i].dims; k++)
			n *= t[i].shape[k];
		bytes += n;
	}
	if (publish_bytes(path, header->data, header->len, e) < 0)
		return -1;
	return truncate(path, bytes) < 0 ? fail(e, EXIT_IO, "%s: no hole of %zu bytes", path, bytes) : 0;
}

/* pool NULL: a hole */
static int write_file(const char *folder, const char *file, struct safetensors_out *t, size_t count, const float *pool,
		      struct error *e)
{
	char *path = path_join(folder, file), *slash = strrchr(path, '/');
	struct buffer header = { 0 };
	struct publish *out;
	uint32_t at = count;
	size_t i;

	*slash = 0;
	if (make_folders(path, e) < 0)
		return -1;
	*slash = '/';
	qsort(t, count, sizeof(*t), by_name);
	safetensors_header(&header, t, count, NULL, 0);
	if (!pool) {
		int result = write_hole(path, &header, t, count, e);
		buffer_free(&header);
		free(path);
		return result;
	}
	out = publish_begin(path, true, e);
	if (!out || publish_write(out, header.data, header.len, e) < 0)
		return -1;
	for (i = 0; i < count; i++)
		if (write_tensor(out, &t[i], pool, &at, e) < 0)
			return -1;
	buffer_free(&header);
	free(path);
	return publish_end(out, e);
}

int main(int argc, char **argv)
{
	struct names n = { 0 };
	struct error e;
	const bool empty = argc == 4 && !strcmp(argv[1], "--empty"), single = argc == 4 && !strcmp(argv[1], "--single");
	float *pool = empty ? NULL : xmalloc(POOL * sizeof(*pool));
	size_t i, k;

	if (argc != 3 + empty + single)
		die(EXIT_USAGE, "usage: write [--empty | --single] NAMES.tsv FOLDER");
	argv += argc - 3;
	read_names(argv[1], &n, single);
	if (pool)
		random_uniforms(&(struct random){ 1, RANDOM_TEST, 0, 0 }, pool, POOL, -1, 1);
	for (i = 0; i < sizeof(files) / sizeof(*files); i++) {
		struct safetensors_out *t = xcalloc(n.count, sizeof(*t));
		size_t count = 0;
		for (k = 0; k < n.count; k++)
			if (!strcmp(n.component[k], files[i].component))
				t[count++] = n.tensor[k];
		if (count && write_file(argv[2], files[i].file, t, count, pool, &e) < 0)
			return report(&e);
		if (count)
			printf("%s: %zu tensors\n", files[i].file, count);
		free(t);
	}
	free_names(&n);
	free(pool);
	return 0;
}
