/* Writing one merged safetensors file: its header, then tensor by tensor, with the hash of its metadata. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../base/hash.h"
#include "../base/memory.h"
#include "../base/retry.h"
#include "internal.h"

/* A file that is being written. */
struct writing {
	struct publish *out;
	struct sha256 hash;             /* of everything behind the header */
};

static int put(struct writing *w, const void *bytes, size_t n, struct error *e)
{
	sha256_add(&w->hash, bytes, n);
	return publish_write(w->out, bytes, n, e);
}

/* ---- header: the old one's bytes but for the hash in the metadata ---- */

/* Finds the value of modelspec.hash_sha256 in the header: its first character, and its length in *n.  NULL: there is
 * none.  Within another text the quotes would have backslashes. */
static const char *find_hash(const char *json, size_t *n)
{
	static const char key[] = "\"modelspec.hash_sha256\"";
	const char *p = strstr(json, key), *end;

	if (!p)
		return NULL;
	p += sizeof(key) - 1;
	p += strspn(p, " \t\r\n:");
	if (*p++ != '"')
		return NULL;
	for (end = p; *end && *end != '"'; end++)
		if (*end == '\\' && end[1])
			end++;
	*n = end - p;
	return p;
}

/* *hash_at: the offset of the hash's digits in the file; 0: there is none. */
static int old_header(const struct safetensors *s, struct buffer *header, size_t *hash_at, struct error *e)
{
	struct buffer old = { 0 };
	const char *value;
	size_t n, start;
	uint64_t length;

	buffer_add(&old, s->data - s->data_start, s->data_start);
	value = find_hash(old.data + 8, &n);
	*hash_at = 0;
	if (!value && safetensors_metadata(s, "modelspec.hash_sha256")) {
		buffer_free(&old);
		return fail(e, EXIT_INPUT,
			    "%s: its metadata writes 'modelspec.hash_sha256' with escapes; save the file anew",
			    s->path);
	}
	start = value ? (size_t)(value - old.data) : old.len;
	buffer_add(header, old.data, start);
	if (value) {
		*hash_at = start + 2;
		buffer_addf(header, "0x%064d", 0);
		buffer_add(header, value + n, old.len - start - n);
		length = header->len - 8;
		for (int i = 0; i < 8; i++)
			header->data[i] = (char)(length >> 8 * i);
	}
	buffer_free(&old);
	return 0;
}

static int patch_hash(struct writing *w, size_t at, const char *path, struct error *e)
{
	char hex[65];

	sha256_hex(&w->hash, hex);
	if (at && RETRY(pwrite(publish_fd(w->out), hex, 64, at)) != 64)
		return fail(e, EXIT_IO, "%s: writing the hash into the header: %s; name a regular file", path,
			    strerror(errno));
	return 0;
}

/* ---- tensors ---- */

#define CHUNK 65536

static int check_finite(const struct safetensors *s, const struct safetensor *t, struct error *e)
{
	const unsigned char *bytes = safetensors_bytes(s, t);
	size_t n = safetensor_elements(t), size = dtype_size(t->dtype);
	float *x;
	bool finite = true;

	if (t->dtype != DTYPE_F32 && t->dtype != DTYPE_F16 && t->dtype != DTYPE_BF16)
		return 0;
	x = xmalloc(CHUNK * sizeof(*x));
	for (size_t i = 0; i < n && finite; i += CHUNK) {
		size_t part = n - i < CHUNK ? n - i : CHUNK;

		to_float(x, bytes + i * size, t->dtype, part);
		for (size_t j = 0; j < part; j++)
			finite &= isfinite(x[j]) != 0;
	}
	free(x);
	return finite ? 0
		      : fail(e, EXIT_INPUT,
			     "%s: '%.200s' holds NaN or infinity; use a sound model, or say --allow-nonfinite", s->path,
			     t->name);
}

static int put_tensor(struct merge *m, struct writing *w, const struct safetensors *s, const struct safetensor *t,
		      const struct merge_job *job, size_t count, struct error *e)
{
	unsigned char *bytes;
	int status;

	if (!m->options->allow_nonfinite && check_finite(s, t, e))
		return -1;
	if (!count)
		return put(w, safetensors_bytes(s, t), t->bytes, e);
	bytes = xmalloc(t->bytes);
	status = merge_tensor(m, job, count, bytes, e);
	if (!status)
		status = put(w, bytes, t->bytes, e);
	free(bytes);
	return status;
}

static int put_tensors(struct merge *m, struct writing *w, size_t file, struct error *e)
{
	const struct safetensors *s = source_file(m->files, file);
	size_t first = 0, end;

	while (first < m->jobs && m->job[first].place.file != file)
		first++;
	for (size_t i = 0; i < s->count; i++, first = end) {
		for (end = first; end < m->jobs && m->job[end].place.tensor == &s->tensor[i]; end++)
			;
		if (put_tensor(m, w, s, &s->tensor[i], m->job + first, end - first, e))
			return -1;
		progress_at(m->progress, ++m->tensors_done, NULL);
	}
	return 0;
}

int merge_file(struct merge *m, size_t i, const char *path, struct error *e)
{
	struct writing w = { 0 };
	struct buffer header = { 0 };
	size_t hash_at;
	int status = old_header(source_file(m->files, i), &header, &hash_at, e);

	if (!status) {
		w.out = publish_begin(path, true, e);
		status = w.out ? publish_write(w.out, header.data, header.len, e) : -1;
	}
	buffer_free(&header);
	sha256_begin(&w.hash);
	if (!status)
		status = put_tensors(m, &w, i, e);
	if (!status)
		status = patch_hash(&w, hash_at, path, e);
	if (!status)
		return publish_end(w.out, e);
	publish_abandon(w.out);
	return -1;
}
