/* Writing safetensors in the canonical order. */
#include <stdlib.h>
#include <string.h>
#include "../base/map.h"
#include "json.h"
#include "safetensors.h"

/* Where the bytes go. */
struct sink {
	struct publish *file;           /* or, if NULL: */
	struct buffer *memory;          /* or, if NULL: */
	safetensors_piece *take;
	void *arg;
	struct error *e;
};

static int put(struct sink *to, const void *data, size_t n)
{
	if (to->file)
		return publish_write(to->file, data, n, to->e);
	if (to->memory)
		buffer_add(to->memory, data, n);
	else
		to->take(to->arg, data, n);
	return 0;
}

/* ---- the canonical order ---- */

/* Among types of one size the reference library has an order of its own; ours is equal to it, byte for byte. */
static const int rank[DTYPE_COUNT] = {
	[DTYPE_U64] = 0, [DTYPE_I64] = 1, [DTYPE_F64] = 2, [DTYPE_F32] = 3, [DTYPE_U32] = 4, [DTYPE_I32] = 5,
	[DTYPE_BF16] = 6, [DTYPE_F16] = 7, [DTYPE_U16] = 8, [DTYPE_I16] = 9, [DTYPE_F8_E4M3] = 10,
	[DTYPE_F8_E5M2] = 11, [DTYPE_I8] = 12, [DTYPE_U8] = 13, [DTYPE_BOOL] = 14,
};

static int canonically(const void *a, const void *b)
{
	const struct safetensors_out *x = a, *y = b;

	return x->dtype != y->dtype ? rank[x->dtype] - rank[y->dtype] : strcmp(x->name, y->name);
}

static struct safetensors_out *sorted(const struct safetensors_out *tensors, size_t count)
{
	struct safetensors_out *copy = xmalloc(count * sizeof(*copy));

	if (count) {
		memcpy(copy, tensors, count * sizeof(*copy));
		qsort(copy, count, sizeof(*copy), canonically);
	}
	return copy;
}

/* ---- the header ---- */

static size_t elements(const struct safetensors_out *t)
{
	size_t n = 1;

	for (int i = 0; i < t->dims; i++)
		n *= (size_t)t->shape[i];
	return n;
}

static void add_tensor(struct json_out *j, const struct safetensors_out *t, uint64_t *at)
{
	json_begin(j, t->name);
	json_text(j, "dtype", dtype_name(t->dtype));
	json_begin_array(j, "shape");
	for (int i = 0; i < t->dims; i++)
		json_int(j, NULL, t->shape[i]);
	json_end_array(j);
	json_begin_array(j, "data_offsets");
	json_int(j, NULL, (int64_t)*at);
	*at += elements(t) * dtype_size(t->dtype);
	json_int(j, NULL, (int64_t)*at);
	json_end_array(j);
	json_end(j);
}

static void add_metadata(struct json_out *j, const struct metadata *metadata, size_t count)
{
	json_begin(j, "__metadata__");
	for (size_t i = 0; i < count; i++)
		json_text(j, metadata[i].key, metadata[i].value ? metadata[i].value : "");
	json_end(j);
}

/* Our own readers would refuse such a file, so it is a mistake of the caller. */
static void check_names(const struct safetensors_out *tensors, size_t count)
{
	struct map *seen = map_new(count);

	for (size_t i = 0; i < count; i++) {
		if (map_put(seen, tensors[i].name, strlen(tensors[i].name), 1) != -1)
			die(EXIT_OTHER, "tensor '%s' is about to be written twice; this is a bug", tensors[i].name);
	}
	map_free(seen);
}

void safetensors_header(struct buffer *out, const struct safetensors_out *tensors, size_t count,
			const struct metadata *metadata, size_t metadata_count)
{
	struct json_out j = { 0 };
	unsigned char length[8];
	uint64_t at = 0;

	check_names(tensors, count);
	json_begin(&j, NULL);
	if (metadata_count)
		add_metadata(&j, metadata, metadata_count);
	for (size_t i = 0; i < count; i++)
		add_tensor(&j, &tensors[i], &at);
	json_end(&j);
	while (j.text.len % 8)
		buffer_adds(&j.text, " ");
	if (j.text.len > SAFETENSORS_MAX_HEADER)
		die(EXIT_OTHER, "a safetensors header of %zu bytes, above the limit of %d; shorten the metadata",
		    j.text.len, SAFETENSORS_MAX_HEADER);
	for (int i = 0; i < 8; i++)
		length[i] = (uint64_t)j.text.len >> 8 * i & 255;
	buffer_add(out, length, 8);
	buffer_add(out, j.text.data, j.text.len);
	json_free(&j);
}

/* ---- the data ---- */

/* A piece at a time: the converted tensors together may be half of the memory. */
static int put_converted(struct sink *to, const struct safetensors_out *t)
{
	enum { PIECE = 2048 };
	unsigned char piece[4 * PIECE];
	const float *from = t->data;

	for (size_t left = elements(t), n; left; left -= n, from += n) {
		n = left < PIECE ? left : PIECE;
		if (from_float(piece, t->dtype, from, n))
			die(EXIT_OTHER, "tensor '%s' cannot be written as %s; this is a bug", t->name,
			    dtype_name(t->dtype));
		if (put(to, piece, n * dtype_size(t->dtype)))
			return -1;
	}
	return 0;
}

static int put_all(struct sink *to, const struct safetensors_out *tensors, size_t count,
		   const struct metadata *metadata, size_t metadata_count)
{
	struct safetensors_out *in_order = sorted(tensors, count);
	struct buffer header = { 0 };
	int rc;

	safetensors_header(&header, in_order, count, metadata, metadata_count);
	rc = put(to, header.data, header.len);
	for (size_t i = 0; i < count && !rc; i++) {
		const struct safetensors_out *t = &in_order[i];

		if (t->floats && t->dtype != DTYPE_F32)
			rc = put_converted(to, t);
		else
			rc = put(to, t->data, elements(t) * dtype_size(t->dtype));
	}
	buffer_free(&header);
	free(in_order);
	return rc;
}

int safetensors_write(struct publish *p, const struct safetensors_out *tensors, size_t count,
		      const struct metadata *metadata, size_t metadata_count, struct error *e)
{
	struct sink to = { .file = p, .e = e };

	return put_all(&to, tensors, count, metadata, metadata_count);
}

int safetensors_save(const char *path, const struct safetensors_out *tensors, size_t count,
		     const struct metadata *metadata, size_t metadata_count, struct error *e)
{
	struct publish *p = publish_begin(path, true, e);

	if (!p)
		return -1;
	if (safetensors_write(p, tensors, count, metadata, metadata_count, e)) {
		publish_abandon(p);
		return -1;
	}
	return publish_end(p, e);
}

void safetensors_serialize(struct buffer *out, const struct safetensors_out *tensors, size_t count,
			   const struct metadata *metadata, size_t metadata_count)
{
	struct sink to = { .memory = out };

	if (put_all(&to, tensors, count, metadata, metadata_count))
		die(EXIT_OTHER, "a write to memory failed; this is a bug");
}

void safetensors_pieces(safetensors_piece *take, void *arg, const struct safetensors_out *tensors, size_t count,
			const struct metadata *metadata, size_t metadata_count)
{
	struct sink to = { .take = take, .arg = arg };

	if (put_all(&to, tensors, count, metadata, metadata_count))
		die(EXIT_OTHER, "a write to memory failed; this is a bug");
}
