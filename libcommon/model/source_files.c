/* Opening the files of a component: one safetensors file, or shards by their index. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../io/json.h"
#include "source_internal.h"

#define INDEX_CAP (16 << 20)            /* most bytes of a shard index; a real one has some hundred thousand */
#define MAX_SHARDS 1000

int source_add_file(struct model_files *m, const char *path, const char *relative, struct error *e)
{
	struct safetensors *s = safetensors_open(path, e);

	if (!s)
		return -1;
	GROW(m->file, m->count, m->capacity);
	m->file[m->count++] = (struct source_file){
		.s = s, .relative = xstrdup(relative), .used = xcalloc(s->count, sizeof(bool)),
	};
	return 0;
}

static int add_named(struct model_files *m, const char *folder, const char *relative, const char *name, struct error *e)
{
	char *path = xprintf("%s/%s", folder, name), *below = xprintf("%s/%s", relative, name);
	int status = source_add_file(m, path, below, e);

	free(path);
	free(below);
	return status;
}

/* Is it a file name without folders?  An index that names "../../x" would read files that the user did not name. */
static bool plain_name(const char *name)
{
	return name && *name && *name != '.' && !strchr(name, '/') && !strchr(name, '\\') && strlen(name) < 256;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The distinct shard names of an index, sorted; they live as long as the index. */
static int shard_names(const char *path, json_t *map, const char *names[MAX_SHARDS], size_t *count, struct error *e)
{
	const char *tensor;
	json_t *shard;

	*count = 0;
	json_object_foreach(map, tensor, shard) {
		const char *name = json_string_value(shard);
		size_t i = 0;

		if (!plain_name(name))
			return fail(e, EXIT_INPUT, "%s: tensor \"%.100s\" is in \"%.100s\", which is not the plain "
				    "name of a file beside the index",
				    path, tensor, name ? name : "(no text)");
		while (i < *count && strcmp(names[i], name))
			i++;
		if (i == *count && *count == MAX_SHARDS)
			return fail(e, EXIT_INPUT, "%s: more than %d shards", path, MAX_SHARDS);
		names[i] = name;
		*count += i == *count;
	}
	if (!*count)
		return fail(e, EXIT_INPUT, "%s: no shards in \"weight_map\"; this is no index of a sharded model",
			    path);
	qsort(names, *count, sizeof(names[0]), by_text);
	return 0;
}

/* Refuses a shard that lacks a tensor which the index puts there: it is an older or a broken copy. */
static int check_shard(const char *path, json_t *map, const char *name, const struct safetensors *s, struct error *e)
{
	const char *tensor;
	json_t *shard;

	json_object_foreach(map, tensor, shard)
		if (strcmp(json_string_value(shard), name) == 0 && !safetensors_find(s, tensor))
			return fail(e, EXIT_INPUT, "%s: \"%.200s\" should be in %s but is not; get both again from one "
				    "place", path, tensor, name);
	return 0;
}

static int add_shards(struct model_files *m, const char *folder, const char *relative, const char *index,
		      struct error *e)
{
	const char *names[MAX_SHARDS];
	size_t count = 0;
	char *path = xprintf("%s/%s", folder, index);
	json_t *root = json_read(path, INDEX_CAP, e), *map = json_object_get(root, "weight_map");
	int status = root ? shard_names(path, map, names, &count, e) : -1;

	for (size_t i = 0; i < count && !status; i++) {
		status = add_named(m, folder, relative, names[i], e);
		if (!status)
			status = check_shard(path, map, names[i], m->file[m->count - 1].s, e);
	}
	json_decref(root);
	free(path);
	return status;
}

/* The forms of a component's weights, in order of preference. */
static const struct { const char *suffix; bool index; } forms[] = {
	{ ".safetensors", false },
	{ ".safetensors.index.json", true },
	{ ".fp16.safetensors", false },
	{ ".safetensors.index.fp16.json", true },
	{ ".fp16.safetensors.index.json", true },
};

/* 1: there are no weights, with *e filled in. */
static int no_weights(const char *folder, const char *stem, struct error *e)
{
	char *pickle = xprintf("%s/%s.bin", folder, !strcmp(stem, "model") ? "pytorch_model" : stem);
	int there = path_is_there(pickle, e);

	if (there > 0)
		fail(e, EXIT_INPUT, "%s: pickled weights, which this program never reads; get the .safetensors of this "
		     "model, or convert once: python3 -c \"import sys,torch,safetensors.torch as s; "
		     "s.save_file(torch.load(sys.argv[1],weights_only=True),sys.argv[2])\" "
		     "%s %s/%s.safetensors", pickle, pickle, folder, stem);
	else if (there == 0)
		fail(e, EXIT_INPUT, "%s: no %s.safetensors, %s.fp16.safetensors or %s.safetensors.index.json; download "
		     "the model again",
		     folder, stem, stem, stem);
	free(pickle);
	return there < 0 ? -1 : 1;
}

int source_add_folder(struct model_files *m, struct part *p, const char *folder, const char *relative,
		      const char *stem, struct error *e)
{
	p->first = m->count;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		char *name = xprintf("%s%s", stem, forms[i].suffix), *path = xprintf("%s/%s", folder, name);
		int there = path_is_there(path, e), status = there;

		if (there > 0)
			status = (forms[i].index ? add_shards : add_named)(m, folder, relative, name, e);
		free(name);
		free(path);
		p->count = m->count - p->first;
		if (there)
			return status;
	}
	return no_weights(folder, stem, e);
}
