/* Sealed safetensors files: a SHA-256 over all other metadata and every tensor, stored in the file's own metadata. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/hash.h"
#include "safetensors.h"

#define SEAL "sha256"

struct sealed { const char *name; enum dtype dtype; int dims; const int64_t *shape; const void *data; uint64_t bytes; };

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct sealed *)a)->name, ((const struct sealed *)b)->name);
}

static void hash_text(struct sha256 *h, const char *text)
{
	sha256_add(h, text, strlen(text) + 1);
}

static void hash_tensor(struct sha256 *h, const struct sealed *t)
{
	hash_text(h, t->name);
	hash_text(h, dtype_name(t->dtype));
	for (int i = 0; i < t->dims; i++) {
		char side[24];
		snprintf(side, sizeof(side), "%lld", (long long)t->shape[i]);
		hash_text(h, side);
	}
	sha256_add(h, t->data, t->bytes);
}

/* Sorts the tensors: the order in which a file happens to hold them says nothing. */
static void sum(struct sealed *t, size_t count, const struct metadata *metadata, size_t metadata_count, char hex[65])
{
	struct sha256 h;

	sha256_begin(&h);
	for (size_t i = 0; i < metadata_count; i++)
		if (strcmp(metadata[i].key, SEAL)) {
			hash_text(&h, metadata[i].key);
			hash_text(&h, metadata[i].value);
		}
	if (count)
		qsort(t, count, sizeof(*t), by_name);
	for (size_t i = 0; i < count; i++)
		hash_tensor(&h, &t[i]);
	sha256_hex(&h, hex);
}

static uint64_t bytes_of(const struct safetensors_out *t)
{
	uint64_t n = dtype_size(t->dtype);

	for (int i = 0; i < t->dims; i++)
		n *= t->shape[i];
	return n;
}

int safetensors_save_sealed(const char *path, const struct safetensors_out *tensors, size_t count,
			    const struct metadata *metadata, size_t metadata_count, struct error *e)
{
	struct sealed *t = xcalloc(count, sizeof(*t));
	struct metadata *all = xmalloc((metadata_count + 1) * sizeof(*all));
	char hex[65];
	int result;

	for (size_t i = 0; i < count; i++) {
		const struct safetensors_out *o = &tensors[i];
		t[i] = (struct sealed){ o->name, o->dtype, o->dims, o->shape, o->data, bytes_of(o) };
	}
	sum(t, count, metadata, metadata_count, hex);
	memcpy(all, metadata, metadata_count * sizeof(*all));
	all[metadata_count] = (struct metadata){ SEAL, hex };
	result = safetensors_save(path, tensors, count, all, metadata_count + 1, e);
	free(all);
	free(t);
	return result;
}

int safetensors_check_seal(const struct safetensors *s, struct error *e)
{
	const char *says = safetensors_metadata(s, SEAL);
	struct sealed *t;
	char hex[65];

	if (!says)
		return fail(e, EXIT_INPUT, "%s: damaged: it holds no SHA-256 of its content", s->path);
	t = xcalloc(s->count, sizeof(*t));
	for (size_t i = 0; i < s->count; i++) {
		const struct safetensor *o = &s->tensor[i];
		t[i] = (struct sealed){ o->name, o->dtype, o->dims, o->shape, safetensors_bytes(s, o), o->bytes };
	}
	sum(t, s->count, s->metadata, s->metadata_count, hex);
	free(t);
	return strcmp(hex, says) ?
		fail(e, EXIT_INPUT, "%s: damaged: its SHA-256 does not match its content", s->path) : 0;
}
